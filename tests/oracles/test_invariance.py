"""A sampler depends on (x / alpha, rho) alone: every schedule gives the same samples."""

from functools import partial

import pytest
import torch

from mmdiff.diffusion.programs import run
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.diffusion.schedules import Cosine, Edm, RectifiedFlow, Shifted, Sigmoid
from tests.oracles.mixture import Mixture, rhos

SAMPLER = SAMPLERS | {"edm(churn=9)": partial(SAMPLERS["edm"], churn=9.0, inflate=1.003)}


@pytest.mark.parametrize("last", [0.02, 0.0])
@pytest.mark.parametrize("name", SAMPLER)
def test_all_schedules_give_the_same_samples(name: str, last: float) -> None:
    rho = rhos(20.0, 0.02, 12)
    rho[-1] = last
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(16, 2, dtype=torch.float64, generator=generator)
    fresh = torch.randn(99, 16, 2, dtype=torch.float64, generator=generator)
    samples = []
    for schedule in (Edm(), Cosine(), Sigmoid(), RectifiedFlow(), Shifted(RectifiedFlow(), 3.0)):
        levels = schedule.of_rho(rho)
        x = run(SAMPLER[name](levels), Mixture().denoise, noise, lambda call: fresh[call])
        samples.append(x / levels.alpha[-1])
    for other in samples[1:]:
        torch.testing.assert_close(other, samples[0], rtol=1e-10, atol=1e-10)
