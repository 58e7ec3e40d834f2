"""Programs: a sampler compiled to a table of numbers, and the one step that runs any row of any table.

On a fixed grid a sampler is linear in the sample, in past predictions and in noise, with coefficients that
depend on the grid alone.  So it is a ``Program``: the levels where the network is called and, for each call,
a matrix that maps registers to (new x, new saved, newest history).  Each sample brings its own rows, so
requests with different samplers, steps and schedules share a network call and can be paused at any of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel

HISTORY = 3  # past predictions kept: enough for a third-order corrector and fourth-order extrapolation
REGISTERS = 4 + HISTORY
FRESH = REGISTERS - 1  # the column of noise
EVERY = (tuple(range(REGISTERS)),) * 3
# the registers as unit vectors: a linear form such as 0.5 * X + 0.5 * X0 is a row of a program
X, SAVED, *PAST, X0, NOISE = torch.eye(REGISTERS, dtype=torch.float64)

Rows = Float[Tensor, "b 3 registers"]
Used = tuple[tuple[int, ...], ...]  # the registers that each row reads


@dataclass(frozen=True, eq=False)
class Program:
    """Everything about a trajectory except its data.  Raises ValueError if a number is not finite."""

    levels: NoiseLevel  # [calls] float64: where the network is called
    matrix: Float64[Tensor, "calls 3 registers"]

    def __post_init__(self) -> None:
        if self.matrix.shape != (shape := (*self.levels.alpha.shape, 3, REGISTERS)):
            raise ValueError(f"matrix is {tuple(self.matrix.shape)}; expected {shape}")
        if not all(part.isfinite().all() for part in (*self.levels, self.matrix)):
            raise ValueError("program holds a number that is not finite")

    @property
    def calls(self) -> int:
        """How often the network runs (NFE)."""
        return len(self.matrix)


class State(NamedTuple):
    """The registers that outlive a call; with program, index of the call and seed, all of a request."""

    x: Float[Tensor, "b *axes"]
    saved: Float[Tensor, "b *axes"]
    newest: Float[Tensor, "b *axes"]  # of the history
    older: Float[Tensor, "b *axes"]
    oldest: Float[Tensor, "b *axes"]


def start(program: Program, noise: Float[Tensor, "b *axes"], x0: Tensor | None = None) -> State:
    """The state before the first call, from standard normal noise with ``x0`` in it where that is known."""
    zero, first = torch.zeros_like(noise), program.levels.at(0)
    return State(first.mix(zero if x0 is None else x0, noise), *[zero] * (1 + HISTORY))


def step(state: State, x0: Tensor, noise: Tensor, rows: Rows, used: Used = EVERY) -> State:
    """The state after the call that gave ``x0``; ``noise`` is standard normal, or zeros where none is needed.

    Elementwise products and sums in a fixed order, each rounded once, so that a sample's bits do not
    depend on its batch mates.  What ``rows`` hold beside ``used`` is zero.  Nothing else updates ``x``.
    """
    registers, factors = (*state, x0, noise), rows.to(x0)[(...,) + (None,) * (x0.ndim - 1)]
    x, saved, newest = (
        reduce(Tensor.add_, [factors[:, row, i] * registers[i] for i in columns] or [torch.zeros_like(x0)])
        for row, columns in enumerate(used)
    )
    return State(x, saved, newest, state.newest, state.older)


def stack(calls: Iterable[tuple[NoiseLevel, Tensor]]) -> tuple[NoiseLevel, Rows]:
    levels, rows = zip(*calls, strict=True)
    return NoiseLevel(*map(torch.stack, zip(*levels, strict=True))), torch.stack(rows)


def join(states: Iterable[State]) -> State:
    """One batch of the samples of several states."""
    return State(*map(torch.cat, zip(*states, strict=True)))


def split(state: State) -> list[State]:
    """The samples of a batch, each a batch of one."""
    return [State(*(register[i : i + 1] for register in state)) for i in range(len(state.x))]


def run(
    program: Program,
    denoise: Callable[[Tensor, NoiseLevel], Tensor],
    noise: Float[Tensor, "b *axes"],
    draw: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """What ``noise`` becomes by one program: ``denoise(x, level)`` gives x0, ``draw(call)`` fresh noise.

    Raises ValueError if the program needs noise and there is no ``draw``.
    """
    state = start(program, noise)
    for call in range(program.calls):
        noisy = program.matrix[call, :, FRESH].any()
        if noisy and draw is None:
            raise ValueError("program adds noise; expected draw")
        fresh = draw(call) if noisy and draw else torch.zeros_like(noise)
        x0 = denoise(state.x, program.levels.at(call).expand(len(noise)))
        rows = program.matrix[call].expand(len(noise), -1, -1)
        state = step(state, x0, fresh, rows)
    return state.x
