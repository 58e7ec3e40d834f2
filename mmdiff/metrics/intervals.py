"""How sure a measured number is: 95 % intervals of shares, of statistics and of distances of two sets."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_NORMAL = 1.959964  # 95 % of a normal distribution lies within so many standard deviations
_TAIL = 0.025  # beyond either end of an interval


class Rate(NamedTuple):
    """A share of successes with its 95 % interval."""

    share: float
    low: float
    high: float
    trials: int


@dataclass(frozen=True)
class Figure:
    """A number of any unit with its 95 % interval, measured on `n` things."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f}  [{self.low:.3f}, {self.high:.3f}]  of {self.n}"


def wilson(successes: float, trials: int) -> Rate:
    """The share of successes with the score interval, which is right near 0 and 1 too (Wilson, 1927).

    The paper is JASA 22:209. Successes may be parts of one, where each trial is a mean itself.

    Raises:
        ValueError: there are no trials, or not between 0 and `trials` successes.
    """
    if not 0 <= successes <= trials or not trials:
        raise ValueError(
            f"wilson: {successes} successes in {trials} trials, expected 0 to as many, and a trial"
        )
    z, share = _NORMAL, successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / (1 + z**2 / trials)
    return Rate(share, max(middle - half, 0.0), min(middle + half, 1.0), trials)


def bootstrap(
    values: Float[Tensor, "n ..."],
    generator: torch.Generator,
    statistic: Callable[[Tensor], Tensor] = torch.mean,
    resamples: int = 2000,
) -> Figure:
    """A statistic with its percentile interval (Efron and Tibshirani, 1993, section 13.3).

    Args:
        values: one row for each independent thing, so that the statistic of any rows can be taken.
        generator: chooses the rows of the resamples; `counter.generator` makes one from a seed.
        statistic: rows -> a scalar.
        resamples: 2000 leave the ends uncertain by about 1.5 % of the interval's length.

    Raises:
        ValueError: there are no rows.
    """
    n = len(values)
    if not n:
        raise ValueError("bootstrap: no values, expected at least one")
    chosen = torch.randint(n, (resamples, n), generator=generator)
    found = torch.stack([statistic(values[rows]) for rows in chosen]).double()
    low, high = torch.quantile(found, torch.tensor([_TAIL, 1 - _TAIL], dtype=torch.float64)).tolist()
    return Figure(float(statistic(values)), low, high, n)


def halves(
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "m ..."],
    generator: torch.Generator,
    distance: Callable[[Tensor, Tensor], float],
    draws: int = 100,
) -> Figure:
    """A distance of two sets with its interval, by the delete-half jackknife (Shao and Wu, 1989).

    The paper is The Annals of Statistics 17:1176. A random half of either set is left out again and again;
    what the other halves give spreads as the whole would in another experiment. A bootstrap does not serve
    here: it takes a row that it draws twice for two that are alike, and so moves every distance.
    The interval is symmetric: that of a distance that cannot be negative may reach below 0.

    Args:
        x: one row for each independent thing.
        y: likewise.
        generator: chooses the halves.
        distance: of any rows of the two.
        draws: 100 leave the length of the interval uncertain by about 7 %.

    Raises:
        ValueError: a set has fewer than four rows.
    """
    n, m = len(x), len(y)
    if min(n, m) < 4:
        raise ValueError(f"halves: {n} and {m} rows, expected at least 4 each")

    def half(rows: Tensor) -> Tensor:
        return rows[torch.randperm(len(rows), generator=generator)[: len(rows) // 2]]

    found = torch.tensor([distance(half(x), half(y)) for _ in range(draws)], dtype=torch.float64)
    value, reach = distance(x, y), _NORMAL * float(found.std())
    return Figure(value, value - reach, value + reach, n)
