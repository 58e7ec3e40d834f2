import pytest
import torch

from mmdiff.diffusion import grids
from mmdiff.diffusion.grids import GRIDS
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.diffusion.schedules import SCHEDULES, Edm, RectifiedFlow, Shifted, Table

SMALL = Table(tuple(torch.linspace(0.99, 0.01, 10).tolist()))
NAMED = {**{name: schedule() for name, schedule in SCHEDULES.items()}, "table": SMALL}
NAMED["shifted"] = Shifted(RectifiedFlow(), 3.0)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("schedule", NAMED)
@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_falls_to_data_on_every_schedule(grid: str, schedule: str, steps: int) -> None:
    options = {"rho": tuple(float(n) for n in range(steps, 0, -1))} if grid == "custom" else {}
    levels = GRIDS[grid](NAMED[schedule], steps, **options)
    assert levels.alpha.shape == levels.sigma.shape == (steps + 1,)
    assert levels.alpha.dtype == levels.sigma.dtype == torch.float64
    assert float(levels.sigma[-1]) == 0
    assert float(levels.alpha[-1]) == 1
    assert (levels.rho.diff() < 0).all()
    assert SAMPLERS["ddim"](levels).calls == steps


def test_uniform_starts_at_pure_noise_and_rho_grids_at_80() -> None:
    assert grids.uniform(RectifiedFlow(), 4).alpha.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    for name in ("karras", "exponential", "rho", "logsnr"):
        assert float(GRIDS[name](RectifiedFlow(), 3).rho[0]) == pytest.approx(80.0)
        assert float(GRIDS[name](SMALL, 3).rho[0]) == pytest.approx(99**0.5)  # where the table ends


def test_values() -> None:
    def rho(name: str, steps: int, **options: float) -> list[float]:
        return GRIDS[name](Edm(), steps, **options).rho.tolist()

    top, low = 80 ** (1 / 7), 0.002 ** (1 / 7)
    karras = [(top + i / 17 * (low - top)) ** 7 for i in range(18)] + [0.0]  # EDM's CIFAR-10 grid
    assert rho("karras", 18) == pytest.approx(karras)
    assert rho("karras", 1, rho_max=5.0) == pytest.approx([5.0, 0.0])
    assert rho("exponential", 3, rho_max=4.0, rho_min=1.0) == pytest.approx([4.0, 2.0, 1.0, 0.0])
    assert rho("rho", 4, rho_max=4.0) == pytest.approx([4.0, 3.0, 2.0, 1.0, 0.0])
    assert rho("custom", 2, rho=(5.0, 1.0)) == pytest.approx([5.0, 1.0, 0.0])
    assert rho("custom", 2, rho=(5.0, 1.0, 0.0)) == pytest.approx([5.0, 1.0, 0.0])


def test_discrete_clocks() -> None:
    def index(name: str, steps: int, **options: int) -> list[int]:
        levels = GRIDS[name](SMALL, steps, **options)
        return (SMALL.t_of_rho(levels.rho) * 10 - 1).round().int().tolist()[:-1]

    assert index("trailing", 5) == [9, 7, 5, 3, 1]
    assert index("leading", 5) == [8, 6, 4, 2, 0]
    assert index("leading", 5, offset=1) == [9, 7, 5, 3, 1]
    assert index("linspace", 4) == [9, 6, 3, 0]
    assert index("linspace", 1) == index("trailing", 1) == [9]


@pytest.mark.parametrize(
    ("name", "steps", "options", "message"),
    [
        ("karras", 0, {}, "steps is 0; expected 1 or more"),
        ("uniform", -1, {}, "steps is -1; expected 1 or more"),
        ("leading", 0, {}, "steps is 0; expected 1 or more"),
        ("trailing", 11, {}, "11 steps do not fit"),
        ("leading", 5, {"offset": 2}, "5 steps do not fit"),
        ("custom", 3, {"rho": (2.0, 1.0)}, "rho has 2 values above 0; expected one for each of 3 steps"),
    ],
)
def test_errors(name: str, steps: int, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRIDS[name](SMALL, steps, **options)
