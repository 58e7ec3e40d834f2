"""Which of many samples has the most in common with another, by their conditions."""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mmdiff.naming import said

Raw = Mapping[str, str]  # conditions by name, as people write them


class Alike:
    """Finds the rows of conditions that share most with a given one.

    What is shared counts by how rare it is: by the negative logarithm of the share of rows that are at least
    as near in that condition (after Lin, 1998, "An information-theoretic definition of similarity"). So the
    same caption, which few have, outweighs the same style, which many have, and a number counts the more the
    nearer it is.

    Args:
        rows: what to look among.
        numbers: the conditions whose values are numbers.
    """

    def __init__(self, rows: Sequence[Raw], numbers: Collection[str]) -> None:
        self.rows, self.numbers = rows, frozenset(numbers)

    def order(self, like: Raw) -> list[int]:
        """The places of all rows, those that share most first."""
        found: list[int] = self.shared(like).argsort(descending=True, stable=True).tolist()
        return found

    def shared(self, like: Raw) -> Float[Tensor, " n"]:
        """How much each row shares, in nepers; 0 is nothing."""
        total = torch.zeros(len(self.rows), dtype=torch.float64)
        for name, value in like.items():
            far = self._distances(name, value)
            nearer = torch.searchsorted(far.sort().values, far, right=True)
            total -= (nearer / len(far)).log()
        return total

    def _distances(self, name: str, value: str) -> Float[Tensor, " n"]:
        """Of numbers their difference; of words 0 where they are the same, else 1."""
        if name not in self.numbers:
            return torch.tensor([float(row.get(name) != value) for row in self.rows], dtype=torch.float64)
        wanted = said(value)
        there = (row.get(name) for row in self.rows)
        distances = [torch.inf if other is None else abs(said(other) - wanted) for other in there]
        return torch.tensor(distances, dtype=torch.float64)
