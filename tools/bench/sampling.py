"""What does a sampling loop cost beyond its network calls? Our engine, and diffusers' loops with our net.

  python tools/bench/sampling.py
  python tools/bench/sampling.py --recipe image/shapes --steps 32 --json | tail -1

Every loop draws the same number of pictures in the same number of steps with the same network, that of a
recipe with fresh weights. A clock inside counts the seconds of the network calls alone; overhead is what the
loop takes beyond them, as a share of them. Captions are encoded before any loop is timed. The loops take
turns; shown are the medians over rounds:

  engine           mmdiff.generation.Engine, as `mmdiff sample` runs it, from requests to x0
  engine, guided   the same with classifier-free guidance: two rows a picture or more
  DDIMPipeline     diffusers' own pipeline class with its DDIMScheduler
  Euler loop       diffusers' EulerDiscreteScheduler in the plain Python loop of its pipelines
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

from mmdiff.errors import UserError
from mmdiff.generation.engine import Engine
from mmdiff.generation.model import Model, build, guidance_of
from mmdiff.generation.pipeline import prepare
from mmdiff.generation.request import Request
from mmdiff.nets import Condition
from mmdiff.recipe import Recipe, Sampling, load
from tools.bench import command

PEERS = ("DDIMPipeline", "Euler loop")


@dataclass
class Clock:
    """Counts the seconds, calls and rows of a network's forward passes."""

    seconds: float = 0.0
    calls: int = 0
    rows: int = 0
    began: float = field(default=0.0, repr=False)

    def watch(self, net: nn.Module) -> None:
        """Begins to count the calls of ``net``."""
        net.register_forward_pre_hook(self._begin)
        net.register_forward_hook(self._end)

    def _begin(self, net: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.began = time.perf_counter()

    def _end(self, net: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.seconds += time.perf_counter() - self.began
        self.calls += 1
        self.rows += len(inputs[0])


@dataclass(frozen=True)
class Turn:
    """One run of a loop: its seconds in all and inside the network, the network's calls and their rows."""

    seconds: float
    network: float
    calls: int
    rows: int

    @property
    def overhead(self) -> float:
        """Seconds outside the network as a share of those inside."""
        return (self.seconds - self.network) / self.network


def turn(loop: Callable[[], Any], clock: Clock) -> Turn:
    """Runs a loop once under the clock."""
    clock.seconds, clock.calls, clock.rows = 0.0, 0, 0
    start = time.perf_counter()
    loop()
    return Turn(time.perf_counter() - start, clock.seconds, clock.calls, clock.rows)


def peer(name: str) -> Any:
    """A class of diffusers. Raises UserError when it is not installed."""
    try:
        return getattr(importlib.import_module("diffusers"), name)
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: pip install 'mmdiff[bench]'") from None


class Shim(nn.Module):
    """Our net with the face of a diffusers model: ``(x, timestep 0 ... 999) -> .sample``."""

    def __init__(self, net: nn.Module, condition: Condition, shape: Sequence[int], precision: str) -> None:
        super().__init__()
        self.net, self.condition, self.bf16 = net, condition, precision == "bf16"
        self.config = SimpleNamespace(in_channels=shape[0], sample_size=tuple(shape[1:]))
        self.dtype, self.device = torch.float32, next(net.parameters()).device

    def forward(self, x: Tensor, timestep: Tensor) -> SimpleNamespace:
        angle = (timestep / 999 * torch.pi / 2).float().expand(len(x))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return SimpleNamespace(sample=self.net(x, angle, self.condition).float())


def ddim_pipeline(shim: Shim) -> Any:
    """The pipeline class of diffusers, silent."""
    pipeline = peer("DDIMPipeline")(shim, peer("DDIMScheduler")())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def euler_loop(shim: Shim, scheduler: Any, shape: Sequence[int], steps: int) -> Tensor:
    """The loop that diffusers' pipelines hold, here with any scheduler that scales its input."""
    scheduler.set_timesteps(steps)
    x = torch.randn(*shape) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        estimate = shim(scheduler.scale_model_input(x, timestep), timestep).sample
        x = scheduler.step(estimate, timestep, x).prev_sample
    return x


def model_of(recipe: Recipe) -> Model:
    """The recipe's model with fresh weights; labels get the one value that its own samples use."""
    own = recipe.sampling.conditions
    conditions = {
        name: replace(spec, values=spec.values or (own.get(name, "any"),)) if spec.kind == "label" else spec
        for name, spec in recipe.conditions.items()
    }
    return build(replace(recipe, conditions=conditions))


def requests_of(model: Model, sampling: Sampling, names: Sequence[str], batch: int) -> list[Request]:
    """One request a picture, of the recipe's own prompts in turn; ``names`` are those of the conditions."""
    prompts = sampling.prompts or ("",)
    program = model.program(sampling)
    every = [{**sampling.conditions, "text": prompts[index % len(prompts)]} for index in range(batch)]
    raws = [{name: value for name, value in raw.items() if name in names} for raw in every]
    return [
        Request(
            shape=model.modality.shape,
            program=program,
            guidance=guidance_of(sampling, raw),
            raw=raw,
            index=index,
        )
        for index, raw in enumerate(raws)
    ]


def condition_of(model: Model, requests: Sequence[Request]) -> Condition:
    """What the network is given for these requests, one row each."""
    conditions = model.conditions
    ids = [conditions.ids(request.raw) for request in requests]
    present = [conditions.present(request.raw) for request in requests]
    with torch.no_grad():
        condition: Condition = conditions(
            *(
                {name: torch.stack([one[name] for one in every]) for name in every[0]}
                for every in (ids, present)
            ),
            len(requests),
        )
    return condition


def loops(recipe: Recipe, batch: int, precision: str) -> tuple[dict[str, Callable[[], Any]], Clock]:
    """What is compared, and the clock inside the network that all share."""
    model, clock, steps = model_of(recipe), Clock(), recipe.sampling.steps
    prepare(model, precision)
    net = model.denoiser.net
    clock.watch(net)
    plain, guided = (
        requests_of(model, replace(recipe.sampling, guidance=scale), tuple(recipe.conditions), batch)
        for scale in (1.0, 3.0)
    )
    shim = Shim(net, condition_of(model, plain), model.modality.shape, precision)
    engine, pipeline = Engine(model, precision), ddim_pipeline(shim)
    return {
        "engine": lambda: list(engine.run(plain)),
        "engine, guided": lambda: list(engine.run(guided)),
        "DDIMPipeline": lambda: pipeline(batch_size=batch, num_inference_steps=steps, output_type="pt"),
        "Euler loop": partial(
            euler_loop, shim, peer("EulerDiscreteScheduler")(), (batch, *model.modality.shape), steps
        ),
    }, clock


def race(
    contenders: Mapping[str, Callable[[], Any]], clock: Clock, rounds: int, batch: int, steps: int
) -> dict[str, list[Turn]]:
    """The turns of each loop, after one to warm up; each must have done the work that was asked."""
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, loop in contenders.items():
            found = turn(loop, clock)
            if found.rows < batch * steps:
                raise RuntimeError(f"{name}: {found.rows} rows for {batch} pictures of {steps} steps")
            if number:
                turns[name].append(found)
    return turns


def report(turns: Mapping[str, Sequence[Turn]]) -> dict[str, Any]:
    """The medians; ``overhead`` is the engine's, ``speedup`` how much sooner it is done than each peer."""
    seconds = {name: statistics.median(t.seconds for t in each) for name, each in turns.items()}
    return {
        "overhead": statistics.median(t.overhead for t in turns["engine"]),
        "overheads": {name: statistics.median(t.overhead for t in each) for name, each in turns.items()},
        "seconds": seconds,
        "network_seconds": {name: statistics.median(t.network for t in each) for name, each in turns.items()},
        "calls": {name: each[0].calls for name, each in turns.items()},
        "rows": {name: each[0].rows for name, each in turns.items()},
        "speedup": {name: seconds[name] / seconds["engine"] for name in PEERS},
    }


def show(found: Mapping[str, Any]) -> None:
    """Prints the table."""
    print(f"{'':<16}{'calls':>7}{'rows':>7}{'seconds':>10}{'network':>10}{'overhead':>10}")
    for name, share in found["overheads"].items():
        seconds, network = found["seconds"][name], found["network_seconds"][name]
        print(
            f"{name:<16}{found['calls'][name]:>7}{found['rows'][name]:>7}{seconds:>10.3f}{network:>10.3f}{share:>10.1%}"
        )


def bench(name: str, batch: int, steps: int, rounds: int, precision: str) -> dict[str, Any]:
    """Runs the comparison. Raises UserError for a recipe that is not there and numbers below 1."""
    if min(batch, steps, rounds) < 1:
        raise UserError(f"--batch {batch}, --steps {steps}, --rounds {rounds}: expected at least 1 each")
    recipe = load(name)
    recipe = replace(recipe, sampling=replace(recipe.sampling, steps=steps))
    contenders, clock = loops(recipe, batch, precision)
    asked = {"recipe": name, "batch": batch, "steps": steps, "rounds": rounds, "precision": precision}
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    return {**report(race(contenders, clock, rounds, batch, steps)), **asked, **machine}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 2 the input was wrong."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("--recipe", default="image/emoji", metavar="NAME", help="whose net (default: %(default)s)")
    add("--batch", type=int, default=8, metavar="N", help="pictures at once (default: %(default)s)")
    add("--steps", type=int, default=16, metavar="N", help="of the samplers (default: %(default)s)")
    add("--rounds", type=int, default=5, metavar="N", help="turns of each loop (default: %(default)s)")
    add("--precision", choices=["bf16", "fp32"], default="bf16", help="of the net (default: %(default)s)")

    def measure(o: argparse.Namespace) -> dict[str, Any]:
        return bench(o.recipe, o.batch, o.steps, o.rounds, o.precision)

    return command.run("sampling", parser, arguments, measure, show)


if __name__ == "__main__":
    sys.exit(main())
