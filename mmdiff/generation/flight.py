"""Requests on their way: what each call of each needs, and which of them advance together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.guidance import Guidance
from mmdiff.diffusion.programs import FRESH, REGISTERS, Program, Rows, State, Used
from mmdiff.generation.request import Request, first_state
from mmdiff.nets import Condition

LEVEL = 4  # columns of a plan's table before those of the step: what the denoiser needs of a level
BRANCHES = (("main",), ("main", "null"))


@dataclass(frozen=True, eq=False)
class Plan:
    """A program under a guidance, unrolled: what each call needs.

    Attributes:
        table: the denoiser's coefficients and the rows of the step of each call, float64.
        rows: 2 where guidance needs the branch without condition, else 1.
        used: the registers that each row of the step reads.
    """

    program: Program
    guidance: Guidance
    table: Float[Tensor, "calls columns"]
    rows: tuple[int, ...]
    used: tuple[Used, ...]


def unroll(program: Program, guidance: Guidance, denoiser: Denoiser) -> Plan:
    """What the calls of a program need.  Raises ValueError if guidance asks for an unknown branch."""
    calls = range(program.calls)
    table = torch.cat([denoiser.coefficients(program.levels), program.matrix.flatten(1)], 1)
    branches = [guidance.branches(program.levels.at(call)) for call in calls]
    unknown = [found for found in branches if found not in BRANCHES]
    if unknown:
        raise ValueError(f"guidance asks for the branches {unknown[0]}; expected one of {BRANCHES}")
    rows = tuple(len(found) for found in branches)
    return Plan(program, guidance, table, rows, tuple(uses(program, call) for call in calls))


def uses(program: Program, call: int) -> Used:
    """The registers that each row of the step after this call reads."""
    return tuple(tuple(row.nonzero().flatten().tolist()) for row in program.matrix[call])


def noisy(used: Used) -> bool:
    """Whether a step adds noise."""
    return any(FRESH in columns for columns in used)


@dataclass(eq=False)
class Flight:
    """A request on its way; ``state`` is None before its first call and while a batch holds it."""

    request: Request
    plan: Plan
    call: int = 0
    state: State | None = None

    @property
    def rows(self) -> int:
        """Network rows of the next call."""
        return self.plan.rows[self.call]

    @property
    def noisy(self) -> bool:
        """Whether the step after the next call adds noise."""
        return noisy(self.plan.used[self.call])

    @property
    def landed(self) -> bool:
        return self.left == 0

    @property
    def left(self) -> int:
        """Calls to go."""
        return len(self.plan.rows) - self.call

    def begun(self) -> State:
        """The state, made when it is first needed, because many requests may wait."""
        return first_state(self.request) if self.state is None else self.state


class Call(NamedTuple):
    """What a call needs of the samples' plans.

    Attributes:
        level: what the denoiser needs of the level of each.
        rows: of the step of each.
        used: the registers that each row of any of them reads.
        noisy: whether the step of any of them adds noise.
        last: whether it is the last call of any of them.
    """

    level: Float[Tensor, "b 4"]
    rows: Rows
    used: Used
    noisy: bool
    last: bool


Chosen = list[tuple[Flight, int]]  # flights and the rows of their next call, in order of arrival


@dataclass(eq=False)
class Batch:
    """Samples of one shape that advance together: those that need two rows first, alike ones side by side.

    Attributes:
        chosen: what the batch was made for.
        flights: the same flights in the order of the samples.
        alike: ranges of guided samples that are at one call of one plan.
        spare: rows of the network call that no sample needs.
        condition: of each row.
        ahead: the coming calls, until one of the samples lands.
        silence: the noise of a step that adds none: zeros like the samples.
    """

    chosen: Chosen
    flights: list[Flight]
    alike: list[tuple[int, int]]
    spare: int
    condition: Condition
    ahead: Iterator[Call]
    state: State
    silence: Tensor

    @property
    def pairs(self) -> int:
        """How many samples are guided; they are the first ones."""
        return self.alike[-1][1] if self.alike else 0

    def spread(self, values: Shaped[Tensor, "b *rest"]) -> Shaped[Tensor, "rows *rest"]:
        """A value a row: of every sample, of the guided ones again, and of the first for the spare rows."""
        again = [values[: self.pairs]] if self.pairs else []
        padding = [values[:1].expand(self.spare, *values.shape[1:])] if self.spare else []
        return torch.cat([values, *again, *padding]) if again or padding else values


def arrange(chosen: Chosen) -> tuple[list[Flight], list[tuple[int, int]]]:
    """The order of the samples in a batch, and the ranges of guided ones that are alike."""
    guided: dict[tuple[Plan, int], list[Flight]] = {}
    for flight, rows in chosen:
        if rows == 2:
            guided.setdefault((flight.plan, flight.call), []).append(flight)
    flights = [flight for group in guided.values() for flight in group]
    bounds = accumulate(map(len, guided.values()), initial=0)
    return flights + [flight for flight, rows in chosen if rows == 1], list(pairwise(bounds))


def coming(flights: Sequence[Flight], device: torch.device) -> Iterator[Call]:
    """The calls of flights until the first one lands: they advance in step."""
    calls = min(flight.left for flight in flights)
    tables = [flight.plan.table[flight.call : flight.call + calls] for flight in flights]
    table = torch.stack(tables, 1).to(device, torch.float32)
    levels, rows = table[..., :LEVEL], table[..., LEVEL:].unflatten(-1, (3, REGISTERS))
    for call in range(calls):
        used = _union({flight.plan.used[flight.call] for flight in flights})
        yield Call(levels[call], rows[call], used, noisy(used), call == calls - 1)


def _union(every: set[Used]) -> Used:
    """The registers that each row of some steps reads."""
    return tuple(tuple(sorted(set().union(*rows))) for rows in zip(*every, strict=True))


def fitting(queue: Sequence[Flight], room: int, lookahead: int) -> Chosen:
    """The first flights of a queue whose rows fit into ``room``, out of as many as ``lookahead``."""
    chosen = []
    for flight in queue[:lookahead]:
        if flight.rows <= room:
            chosen.append((flight, flight.rows))
            room -= flight.rows
        if not room:
            break
    return chosen
