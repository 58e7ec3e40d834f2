"""The same samples as diffusers on the same grid, with diffusers' own float32 lifted to float64."""

import importlib
import types
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from mmdiff.diffusion import grids, samplers
from mmdiff.diffusion.level import NoiseLevel, spread
from mmdiff.diffusion.programs import Program, run
from mmdiff.diffusion.schedules import Cosine, Edm, RectifiedFlow, Shifted, Table
from tests.oracles.mixture import Mixture

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# diffusers' own: NumPy 2's copy keyword, and its farewell to dpmsolver without ++
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

STEPS = 12
MIXTURE = Mixture()
VE, VP = Edm(), Cosine()


MODULES = ("ddim", "euler_discrete", "heun_discrete", "dpmsolver_multistep", "unipc_multistep")
MODULES += ("deis_multistep", "flow_match_euler_discrete")


@pytest.fixture(autouse=True)
def _doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside diffusers' schedulers, float32 means float64."""
    for name in MODULES:
        module = importlib.import_module(f"diffusers.schedulers.scheduling_{name}")
        for library in (torch, np):
            doubled = types.ModuleType(library.__name__)
            doubled.__dict__.update(library.__dict__, float32=library.float64)
            monkeypatch.setattr(module, "torch" if library is torch else "np", doubled)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def theirs(scheduler: Any, at: Callable[[int], NoiseLevel], **options: Any) -> Tensor:
    """diffusers' samples; the network predicts eps, or the velocity for a flow."""
    x = noise() * at(0).sigma
    flow = "FlowMatch" in type(scheduler).__name__
    for i, t in enumerate(scheduler.timesteps):
        level = at(i).expand(len(x))
        x0 = MIXTURE.denoise(x, level)
        eps = (x - spread(level.alpha, x) * x0) / spread(level.sigma, x)
        x = scheduler.step(eps - x0 if flow else eps, t, x, **options).prev_sample
    return x


def ours(program: Program, **options: Any) -> Tensor:
    return run(program, MIXTURE.denoise, noise(), **options)


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * float(other.abs().max()))


def table(scheduler: Any) -> Table:
    return Table(tuple(scheduler.alphas_cumprod.tolist()))


@pytest.mark.parametrize(("spacing", "grid"), [("leading", grids.leading), ("trailing", grids.trailing)])
def test_ddim(spacing: str, grid: Callable[..., NoiseLevel]) -> None:
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing=spacing)
    scheduler.set_timesteps(10)
    levels = grid(table(scheduler), 10)
    same(ours(samplers.ddim(levels)), theirs(scheduler, levels.at))


def test_ddpm() -> None:
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    levels, fresh = grids.trailing(table(scheduler), 10), noise(1)
    program = samplers.SAMPLERS["ddpm"](levels)
    same(ours(program, draw=lambda call: fresh), theirs(scheduler, levels.at, eta=1.0, variance_noise=fresh))


@pytest.mark.parametrize("karras", [False, True])
def test_euler(karras: bool) -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, use_karras_sigmas=karras)
    scheduler.set_timesteps(STEPS)
    levels = VE.of_rho(scheduler.sigmas)
    same(ours(samplers.SAMPLERS["euler"](levels)), theirs(scheduler, levels.at))


def test_karras_grid() -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(STEPS)
    low, high = table(scheduler)(torch.tensor([1e-3, 1.0])).rho.tolist()
    levels = grids.karras(VP, STEPS, rho_max=high, rho_min=low)
    torch.testing.assert_close(levels.rho, scheduler.sigmas, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7, 16, 50, 999, 1000])
def test_discrete_grids(spacing: str, steps: int) -> None:
    scheduler = diffusers.DDIMScheduler(**BETAS, timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    levels = grids.GRIDS[spacing](table(scheduler), steps)
    if spacing == "linspace" and steps == 1:
        assert scheduler.timesteps.tolist() == [0]  # theirs starts a single step at the end
    else:
        alphas = scheduler.alphas_cumprod[scheduler.timesteps].sqrt()
        torch.testing.assert_close(levels.alpha[:-1], alphas, rtol=1e-9, atol=0.0)


def test_heun() -> None:
    scheduler = diffusers.HeunDiscreteScheduler(**BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(STEPS)
    each = VE.of_rho(scheduler.sigmas)
    levels = VE.of_rho(torch.unique_consecutive(scheduler.sigmas))
    same(ours(samplers.edm(levels)), theirs(scheduler, each.at))


@pytest.mark.parametrize("steps", [STEPS, 20])
@pytest.mark.parametrize(("theirs_is", "solver"), [("midpoint", "midpoint"), ("heun", "exact")])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpmpp_2m(theirs_is: str, solver: str, eta: float, steps: int) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS,
        use_karras_sigmas=True,
        solver_type=theirs_is,
        algorithm_type="sde-dpmsolver++" if eta else "dpmsolver++",
    )
    scheduler.set_timesteps(steps)
    levels, fresh = VP.of_rho(scheduler.sigmas), noise(1)
    program = samplers.dpmpp(levels, 2, eta, solver)
    same(ours(program, draw=lambda call: fresh), theirs(scheduler, levels.at, variance_noise=fresh))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(order: int) -> None:
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS,
        solver_order=order,
        solver_type="bh2",
        use_karras_sigmas=True,
        lower_order_final=False,
        final_sigmas_type="sigma_min",
    )
    scheduler.set_timesteps(STEPS)
    sigmas = scheduler.sigmas.clone()
    sigmas[-1] = sigmas[-2] / 2  # a step of its own, where diffusers repeats the last level
    scheduler.sigmas = sigmas
    levels = VP.of_rho(sigmas)
    same(ours(samplers.unipc(levels, order, "midpoint")), theirs(scheduler, levels.at))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis(order: int) -> None:
    scheduler = diffusers.DEISMultistepScheduler(
        **BETAS, solver_order=order, timestep_spacing="trailing", lower_order_final=False
    )
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas[-1] = scheduler.sigmas[-2] / 2
    levels = VP.of_rho(scheduler.sigmas)
    same(ours(samplers.deis(levels, order)), theirs(scheduler, levels.at))


def test_dpm() -> None:
    """Their multistep DPM-Solver of second order with exact integrals is DEIS."""
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS,
        algorithm_type="dpmsolver",
        solver_type="heun",
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )
    scheduler.set_timesteps(STEPS)
    levels = VP.of_rho(scheduler.sigmas)
    same(ours(samplers.deis(levels, 2)), theirs(scheduler, levels.at))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_match_euler(shift: float) -> None:
    """From pure noise; the shift is given through sigmas, as set_timesteps(n) applies it twice."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, STEPS + 1)[:-1])
    levels = grids.uniform(Shifted(RectifiedFlow(), shift), STEPS)
    torch.testing.assert_close(levels.sigma, scheduler.sigmas.double(), rtol=1e-6, atol=0.0)
    same(ours(samplers.SAMPLERS["euler"](levels)), theirs(scheduler, levels.at))
