"""The law of the engine: a sample is the same, bit for bit, whatever runs beside it."""

import dataclasses
import pickle
import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mmdiff.diffusion.guidance import guide
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import State, run
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.errors import UserError
from mmdiff.generation.engine import PRECISIONS, Engine
from mmdiff.generation.model import Model
from mmdiff.generation.request import Finished, Progress, Request, first_state
from mmdiff.recipe import Sampling

SHAPES = ((3, 16, 16), (3, 12, 20))
GUIDANCES = (
    guide(1.0),
    guide(3.0),
    guide(4.5, interval=(0.3, 5.0)),
    guide(2.0, rescale=0.7),
    guide(7.5, interval=(0.1, 2.0), rescale=0.3),
    guide(1.0, each=(("style", 4.0),)),
    guide(3.0, interval=(0.1, 9.0), rescale=0.5, each=(("style", 5.0), ("text", 2.0))),
)
RAWS = (
    {"text": "a red heart"},
    {"style": "google"},
    {"text": "dog face", "style": "apple"},
    {"text": "pizza"},
)
GRIDS = ("karras(rho_max=40)", "uniform", "exponential", "trailing")


def wishes(model: Model, count: int = 64, least: int = 2, most: int = 4) -> list[Request]:
    """Requests of every kind: all samplers, grids, step counts, guidances, conditions, sizes."""
    samplers, found = list(SAMPLERS), []
    for number in range(count):
        name, steps = samplers[number % len(samplers)], least + number % (most - least + 1)
        for grid in (GRIDS[number % len(GRIDS)], GRIDS[0]):
            try:
                program = model.program(Sampling(sampler=name, grid=grid, steps=steps))
                break
            except UserError:  # this sampler divides by alpha, and the grid starts at pure noise
                continue
        guidance, raw = GUIDANCES[number % len(GUIDANCES)], RAWS[number % len(RAWS)]
        shape = SHAPES[number // 3 % len(SHAPES)]
        found.append(Request(shape, program, guidance, raw, seed=number // 4, index=number % 3))
    return found


def alone(model: Model, requests: Sequence[Request], precision: str, rows: int = 8) -> dict[Request, Tensor]:
    found = {}
    for request in requests:
        (finished,) = Engine(model, precision, rows).run([request])
        found[request] = finished.x0
    return found


def same(finished: Sequence[Finished], expected: dict[Request, Tensor]) -> int:
    return sum(torch.equal(one.x0, expected[one.request]) for one in finished)


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def expected(model, precision) -> dict[Request, Tensor]:
    """64 requests of every kind, each run alone."""
    return alone(model, wishes(model), precision)


def test_64_different_requests_together_are_as_each_alone(model, precision, expected):
    requests = list(expected)
    engine = Engine(model, precision)
    together = list(engine.run(requests))
    assert all(x0.isfinite().all() and x0.std() > 0 for x0 in expected.values())
    assert same(together, expected) == len(together) == 64
    assert engine.calls * 4 < sum(request.program.calls for request in requests)  # they did share calls


def test_late_arrivals_cancellations_and_moves_change_nothing(model, precision, expected):
    requests, dice = list(expected)[:32], random.Random(1)
    engine, other = Engine(model, precision), Engine(model, precision)
    waiting, running, finished = list(requests), [], []
    cancelled = set(dice.sample(requests, 6))
    while waiting or running:
        for request in waiting[: dice.randrange(4)]:
            waiting.remove(request)
            running.append(request)
            engine.add(request)
        if running and dice.random() < 0.5:  # one moves to the other engine, through a pickle
            moving = dice.choice(running)
            here, there = (engine, other) if holds(engine, moving) else (other, engine)
            there.add(thawed(here.pause(moving), moving))
        for request in [one for one in running if one in cancelled]:
            if dice.random() < 0.4:
                (engine if holds(engine, request) else other).cancel(request)
                running.remove(request)
                cancelled.remove(request)
                finished.append(None)
        landed = [*engine.tick(), *other.tick()]
        running = [request for request in running if request not in {one.request for one in landed}]
        finished += landed
    made = [one for one in finished if one is not None]
    assert len(finished) == 32
    assert 26 <= len(made) < 32
    assert same(made, expected) == len(made)


def holds(engine: Engine, request: Request) -> bool:
    try:
        engine.add(engine.pause(request))
    except ValueError:
        return False
    return True


def thawed(progress: Progress, request: Request) -> Progress:
    """What a pickle keeps of a progress, for the same request object."""
    again = pickle.loads(pickle.dumps(progress))
    assert again.request.raw == request.raw
    return dataclasses.replace(again, request=request)


def test_a_pickled_request_is_the_same_request(model):
    request = wishes(model, 12)[11]
    again = pickle.loads(pickle.dumps(request))
    (first,), (second,) = (list(Engine(model, "fp32").run([one])) for one in (request, again))
    assert torch.equal(first.x0, second.x0)


def test_a_neighbour_of_nan_changes_nothing(model):
    requests = wishes(model, 8)
    expected = alone(model, requests, "fp32")
    poison = dataclasses.replace(requests[0], seed=99)
    broken = State(*(torch.full_like(part, torch.nan) for part in first_state(poison)))
    engine = Engine(model, "fp32")
    engine.add(Progress(poison, 0, broken))
    made = [one for one in engine.run(requests) if one.request is not poison]
    assert same(made, expected) == 8


@pytest.mark.parametrize("rows", [2, 3, 32])
def test_the_law_holds_for_any_number_of_rows(model, rows):
    fit = [request for request in wishes(model, 20, most=2) if rows >= 4 or request.guidance != GUIDANCES[-1]]
    assert same(list(Engine(model, "fp32", rows).run(fit)), alone(model, fit, "fp32", rows)) == len(fit) >= 16


def test_branches_that_no_call_can_hold_are_named(model):
    guidance = guide(3.0, each=(("style", 5.0), ("text", 2.0)))
    request = Request(SHAPES[0], model.program(Sampling(steps=1)), guidance, RAWS[2])
    with pytest.raises(
        UserError, match="rows is 3; expected 4 or more, one for each branch: main, null, style"
    ):
        Engine(model, "fp32", rows=3).add(request)


@pytest.mark.parametrize("name", ["stile", "main"])
def test_a_branch_without_what_there_is_not_is_refused(model, name):
    request = Request(SHAPES[0], model.program(Sampling(steps=1)), guide(1.0, each=((name, 2.0),)), RAWS[2])
    with pytest.raises(ValueError, match=r"expected 'main' and then any of null, text, style"):
        Engine(model, "fp32").add(request)


def test_the_order_of_arrival_changes_nothing(model):
    requests = wishes(model, 16)
    first = {one.request: one.x0 for one in Engine(model, "bf16").run(requests)}
    assert same(list(Engine(model, "bf16").run(requests[::-1])), first) == 16


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_engine_is_the_plain_loop(model, sampler):
    """One request equals ``programs.run`` with the denoiser called on eight copies of the sample."""
    program = model.program(Sampling(sampler=sampler, grid="karras", steps=3))
    guidance, both = guide(3.0, each=(("style", 5.0),)), {"text": "a dog", "style": "apple"}
    request = Request(SHAPES[0], program, guidance, both, seed=5, index=2)
    conditions, raws = model.conditions, [both, {}, {"text": "a dog"}] + [both] * 5
    ids, present = ([f(raw) for raw in raws] for f in (conditions.ids, conditions.present))
    names = ("text", "style")
    condition = conditions(
        {name: torch.stack([one[name] for one in ids]) for name in names},
        {name: torch.stack([one[name] for one in present]) for name in names},
        8,
    )

    def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
        out = model.denoiser(x.expand(8, -1, -1, -1).contiguous(), level.expand(8), condition)
        return guidance.combine(tuple(out[:3].split(1)), level.at(0))

    expected = run(program, denoise, request.first_noise()[None], lambda call: request.noise(call)[None])
    (made,) = Engine(model, "fp32").run([request])
    assert torch.equal(made.x0, expected[0])


def test_outside_its_interval_guidance_costs_no_row(model):
    program = model.program(Sampling(sampler="euler", grid="karras(rho_max=40)", steps=6))
    inside = sum(0.3 <= float(program.levels.at(call).rho) <= 5 for call in range(6))
    engine = Engine(model, "fp32")
    list(engine.run([Request(SHAPES[0], program, guide(3.0, (0.3, 5.0)), {"style": "apple"})]))
    assert 0 < inside < 6
    assert engine.evaluations == 6 + inside


def test_a_call_is_filled_with_the_requests_that_fit(model):
    program = model.program(Sampling(sampler="euler", steps=2))
    requests = [
        Request(SHAPES[0], program, guide(g), {"style": "apple"}, index=i) for i, g in enumerate([3, 1, 3, 1])
    ]
    engine = Engine(model, "fp32", rows=4)
    for request in requests:
        engine.add(request)
    assert (engine.outstanding, len(engine)) == (12, 4)
    assert len(list(engine.run([]))) == 4
    assert (engine.calls, engine.evaluations, engine.outstanding, len(engine)) == (4, 12, 0, 0)


def test_samples_of_one_seed_differ_by_their_index(model):
    program = model.program(Sampling(sampler="ddpm", steps=2))
    requests = [Request(SHAPES[0], program, seed=s, index=i) for s, i in ((0, 0), (0, 1), (1, 0))]
    first, second, third = (one.x0 for one in Engine(model, "fp32").run(requests))
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_request_that_is_not_there_cannot_be_cancelled(model):
    engine, (first, second) = Engine(model), wishes(model, 2)
    engine.add(first)
    with pytest.raises(ValueError, match="not in this engine"):
        engine.cancel(second)
    engine.cancel(first)
    assert len(engine) == 0


def test_wrong_arguments_are_named(model):
    with pytest.raises(UserError, match="precision is 'fp8'; expected one of bf16, fp32"):
        Engine(model, "fp8")
    with pytest.raises(UserError, match="rows is 1; expected 2 or more"):
        Engine(model, rows=1)


def test_guidance_with_unknown_branches_is_refused(model):
    class Strange:
        def branches(self, level: NoiseLevel) -> tuple[str, ...]:
            return ("main", "weak")

        def combine(self, x0s: tuple[Tensor, ...], level: NoiseLevel) -> Tensor:
            return x0s[0]

    program = model.program(Sampling(sampler="euler", steps=2))
    with pytest.raises(ValueError, match="weak"):
        Engine(model).add(Request(SHAPES[0], program, Strange()))
