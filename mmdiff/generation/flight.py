"""Requests on their way: what each call of each needs, and which of them advance together."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.guidance import Guidance
from mmdiff.diffusion.programs import FRESH, REGISTERS, Program, Rows, State, Used
from mmdiff.generation.request import Request, first_state
from mmdiff.nets import Condition

LEVEL = 4  # columns of a plan's table before those of the step: what the denoiser needs of a level

Branches = tuple[str, ...]  # "main" first; see ``guidance``


@dataclass(frozen=True, eq=False)
class Plan:
    """A program under a guidance, unrolled: what each call needs.

    Attributes:
        table: the denoiser's coefficients and the rows of the step of each call, float64.
        branches: what guidance needs, a row of the network's call each.
        used: the registers that each row of the step reads.
    """

    program: Program
    guidance: Guidance
    table: Float[Tensor, "calls columns"]
    branches: tuple[Branches, ...]
    used: tuple[Used, ...]

    def cost(self, begin: int = 0) -> int:
        """Rows that are evaluated from a call on."""
        return sum(map(len, self.branches[begin:]))


def unroll(program: Program, guidance: Guidance, denoiser: Denoiser, names: Collection[str]) -> Plan:
    """What the calls of a program need, where ``names`` are the conditions that there are.

    Raises:
        ValueError: guidance asks for branches that there are not.
    """
    calls = range(program.calls)
    table = torch.cat([denoiser.coefficients(program.levels), program.matrix.flatten(1)], 1)
    branches = tuple(guidance.branches(program.levels.at(call)) for call in calls)
    for found in branches:
        if found[:1] != ("main",) or not {*found[1:]} <= {"null", *names}:
            expected = ", ".join(["'main' and then any of null", *names])
            raise ValueError(f"guidance asks for the branches {found}; expected {expected}")
    return Plan(program, guidance, table, branches, tuple(uses(program, call) for call in calls))


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
    def branches(self) -> Branches:
        """What the next call evaluates."""
        return self.plan.branches[self.call]

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
        return len(self.plan.branches) - self.call

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


Chosen = list[tuple[Flight, Branches]]  # flights and what their next call evaluates, in order of arrival


class Guided(NamedTuple):
    """Samples side by side that are at one call of one plan, which needs more than one branch of each."""

    begin: int
    end: int
    first: int  # row of their second branch; each branch has as many rows as there are samples
    last: int


@dataclass(eq=False)
class Batch:
    """Samples of one shape that advance together: guided ones first, alike ones side by side.

    Attributes:
        chosen: what the batch was made for.
        flights: the same flights in the order of the samples.
        guided: those whose estimates are combined from several.
        rows: the sample and the branch of each row of the call: "main" of all samples, then what else they
            need, then repetitions of the first row.
        samples: that of each row, on the device.
        condition: of each row.
        ahead: the coming calls, until one of the samples lands.
        silence: the noise of a step that adds none: zeros like the samples.
    """

    chosen: Chosen
    flights: list[Flight]
    guided: list[Guided]
    rows: list[tuple[int, str]]
    samples: Int64[Tensor, " rows"]
    condition: Condition
    ahead: Iterator[Call]
    state: State
    silence: Tensor

    def spread(self, values: Shaped[Tensor, "b *rest"]) -> Shaped[Tensor, "rows *rest"]:
        """The value of each row, taken from those of the samples."""
        return values if len(self.rows) == len(values) else values.index_select(0, self.samples)


def arrange(chosen: Chosen) -> tuple[list[Flight], list[Guided], list[tuple[int, str]]]:
    """The order of the samples in a batch, the guided ones, and the sample and branch of each row."""
    groups: dict[tuple[Plan, int], list[Flight]] = {}
    for flight, branches in chosen:
        if len(branches) > 1:
            groups.setdefault((flight.plan, flight.call), []).append(flight)
    flights = [flight for group in groups.values() for flight in group]
    flights += [flight for flight, branches in chosen if len(branches) == 1]
    guided, rows, begin = list[Guided](), [(place, "main") for place in range(len(flights))], 0
    for group in groups.values():
        end, first = begin + len(group), len(rows)
        rows += [(place, branch) for branch in group[0].branches[1:] for place in range(begin, end)]
        guided.append(Guided(begin, end, first, len(rows)))
        begin = end
    return flights, guided, rows


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
        if len(flight.branches) <= room:
            chosen.append((flight, flight.branches))
            room -= len(flight.branches)
        if not room:
            break
    return chosen
