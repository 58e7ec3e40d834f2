import inspect
import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmdiff import diffusion
from mmdiff.diffusion import grids
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import (
    FRESH,
    HISTORY,
    REGISTERS,
    Program,
    State,
    join,
    run,
    split,
    stack,
    start,
    step,
)
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.diffusion.schedules import Cosine, Edm, RectifiedFlow, Shifted
from tests.oracles.mixture import Mixture

POINTS = 6  # a sample is [2, POINTS]
MIXTURE = Mixture()


def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
    """The mixture for every point of every sample."""
    level = NoiseLevel(*(part.repeat_interleave(POINTS) for part in level))
    return MIXTURE.denoise(x.mT.reshape(-1, 2), level).reshape(-1, POINTS, 2).mT


def draw(seed: int, call: int) -> Tensor:
    return torch.randn(1, 2, POINTS, generator=torch.Generator().manual_seed(1000 * seed + call))


def request(i: int) -> Program:
    """Every sampler, each on its own schedule and with its own number of steps."""
    schedule = (Edm(), Cosine(), RectifiedFlow(), Shifted(RectifiedFlow(), 3.0))[i % 4]
    grid = (grids.karras, grids.uniform)[i % 2]
    return list(SAMPLERS.values())[i](grid(schedule, 3 + i % 5))


def alone(seed: int, program: Program) -> Tensor:
    return run(program, denoise, draw(seed, -1), lambda call: draw(seed, call))


def test_mixed_requests_equal_each_alone_bitwise() -> None:
    programs = [request(i) for i in range(len(SAMPLERS))]
    waiting = [(seed, program, 0, start(program, draw(seed, -1))) for seed, program in enumerate(programs)]
    finished: dict[int, Tensor] = {}
    tick = 0
    while waiting:
        tick += 1
        count = 1 + tick * 7 % 11  # another batch, of another size, at every tick
        group, waiting = waiting[:count], waiting[count:]
        level, rows = stack((p.levels.at(call), p.matrix[call]) for _, p, call, _ in group)
        state = join(state for *_, state in group)
        noise = torch.cat([draw(seed, call) for seed, _, call, _ in group])
        for (seed, program, call, _), after in zip(
            group, split(step(state, denoise(state.x, level), noise, rows)), strict=True
        ):
            if call + 1 < program.calls:
                waiting.append((seed, program, call + 1, after))
            else:
                finished[seed] = after.x
    assert len(finished) == len(SAMPLERS)
    for seed, program in enumerate(programs):
        assert torch.equal(finished[seed], alone(seed, program))


@pytest.mark.parametrize("index", range(len(SAMPLERS)), ids=list(SAMPLERS))
def test_a_pickled_request_resumes_bitwise(index: int) -> None:
    program = request(index)
    state = start(program, draw(index, -1))
    for call in range(program.calls):
        program, state = pickle.loads(pickle.dumps((program, state)))
        level, rows = stack([(program.levels.at(call), program.matrix[call])])
        state = step(state, denoise(state.x, level), draw(index, call), rows)
    assert torch.equal(state.x, alone(index, request(index)))


def random_step(b: int) -> tuple[State, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, saved, x0, noise = torch.randn(4, b, 3, 17, generator=generator)
    history = torch.randn(HISTORY, b, 3, 17, generator=generator)
    rows = torch.randn(b, 3, REGISTERS, dtype=torch.float64, generator=generator)
    return State(x, saved, *history), x0, noise, rows


def take(state: State, index: Tensor) -> State:
    return State(*(register[index] for register in state))


def equal(one: State, other: State) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_permuting_the_batch_permutes_the_step() -> None:
    state, x0, noise, rows = random_step(5)
    order = torch.tensor([3, 1, 4, 0, 2])
    after = step(take(state, order), x0[order], noise[order], rows[order])
    assert equal(after, take(step(state, x0, noise, rows), order))


def test_a_nan_neighbour_changes_nothing() -> None:
    state, x0, noise, rows = random_step(5)
    clean = step(state, x0, noise, rows)
    for register in (*state, x0, noise, rows):
        register[2] = math.nan
    keep = torch.tensor([0, 1, 3, 4])
    assert equal(take(step(state, x0, noise, rows), keep), take(clean, keep))


def test_a_step_is_the_matrix_applied_to_the_registers() -> None:
    state, x0, noise, rows = random_step(2)
    registers = torch.stack([*state, x0, noise], 1)
    new_x, new_saved, newest = torch.einsum("brc,bc...->rb...", rows, registers.double())
    after = step(state, x0, noise, rows)
    torch.testing.assert_close(after.x.double(), new_x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after.saved.double(), new_saved, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after.newest.double(), newest, rtol=1e-5, atol=1e-5)
    assert torch.equal(after.older, state.newest)
    assert torch.equal(after.oldest, state.older)
    assert after.x.dtype == torch.float32


def test_joining_undoes_splitting() -> None:
    state = random_step(3)[0]
    assert [len(part.x) for part in split(state)] == [1, 1, 1]
    assert equal(join(split(state)), state)


def test_start_is_noise_at_the_first_level() -> None:
    program = SAMPLERS["ddim"](grids.karras(Edm(), 3))
    state = start(program, torch.ones(2, 3))
    torch.testing.assert_close(state.x, torch.full((2, 3), 80.0))
    assert [register.shape for register in state[1:]] == [(2, 3)] * (1 + HISTORY)
    assert not any(register.any() for register in state[1:])


def test_a_program_must_be_finite_and_fit() -> None:
    levels = NoiseLevel(torch.ones(2).double(), torch.ones(2).double())
    matrix = torch.zeros(2, 3, REGISTERS, dtype=torch.float64)
    with pytest.raises(ValueError, match="not finite"):
        Program(levels, matrix / 0)
    with pytest.raises(ValueError, match=r"matrix is \(1, 3, 7\); expected \(2, 3, 7\)"):
        Program(levels, matrix[:1])


def test_noise_is_asked_for_where_it_is_used() -> None:
    program = SAMPLERS["ddpm"](grids.uniform(RectifiedFlow(), 3))
    assert program.matrix[:, :, FRESH].any(1).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="program adds noise; expected draw"):
        run(program, denoise, draw(0, -1))


def test_the_core_stays_small() -> None:
    """One step of at most 40 lines; 1,200 lines for all schedules, grids, samplers and guidance."""
    assert len(inspect.getsource(step).splitlines()) <= 40
    folder = Path(diffusion.__file__).parent
    assert sum(len(path.read_text().splitlines()) for path in folder.glob("*.py")) <= 1200
