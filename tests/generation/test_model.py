import dataclasses

import pytest
import torch
from torch import nn

from mmdiff.diffusion.grids import GRIDS
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.diffusion.schedules import SCHEDULES, Shifted
from mmdiff.diffusion.targets import TARGETS
from mmdiff.diffusion.weights import DENSITIES, WEIGHTS
from mmdiff.errors import UserError
from mmdiff.generation.model import build, check, parameter_count
from mmdiff.nets import SIZES
from mmdiff.recipe import ConditionSpec, Data, Diffusion, Net, Recipe, Sampling
from tests.generation.conftest import RECIPE


def with_(**sections) -> Recipe:
    return dataclasses.replace(RECIPE, **sections)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_schedule_and_target_makes_a_model(schedule, target):
    with torch.device("meta"):
        model = build(with_(diffusion=Diffusion(schedule=schedule, target=target)))
    level = model.schedule(torch.tensor([0.1, 0.5], dtype=torch.float64))
    assert (level.sigma.diff() > 0).all()
    assert model.denoiser.target == target


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("density", DENSITIES)
def test_every_weight_and_density_works_in_the_model(weight, density):
    model = build(with_(diffusion=Diffusion(weight=weight, density=density)))
    u = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    t = model.density(model.schedule, u)
    assert ((t > 0) & (t < 1)).all()
    assert (model.weight(model.schedule(t)) > 0).all()


@pytest.mark.parametrize("grid", [name for name in GRIDS if name != "custom"])
def test_every_sampler_and_grid_makes_a_program_or_says_why_not(model, grid):
    refused = {}
    for sampler in SAMPLERS:
        try:
            assert model.program(Sampling(sampler=sampler, grid=grid, steps=5)).calls >= 5
        except UserError as error:
            refused[sampler] = str(error)
    starts_at_pure_noise = model.schedule(torch.ones(())).alpha == 0 and grid in (
        "uniform",
        "trailing",
        "linspace",
    )
    assert len(refused) < len(SAMPLERS) / 2 if starts_at_pure_noise else not refused
    assert all(why.startswith(f"sampling.sampler {sampler!r}: ") for sampler, why in refused.items())


def test_options_reach_the_parts(model):
    program = model.program(Sampling(sampler="ddim(eta=0.5)", grid="karras(rho_max=10)", steps=4))
    assert program.levels.rho[0] == pytest.approx(10)
    assert not torch.equal(
        program.matrix, model.program(Sampling(sampler="ddim", grid="karras(rho_max=10)", steps=4)).matrix
    )
    custom = model.program(Sampling(sampler="euler", grid="custom(rho=(5, 2, 1, 0))", steps=3))
    assert custom.levels.rho.tolist() == pytest.approx([5, 2, 1])
    assert build(with_(diffusion=Diffusion(schedule="cosine(offset=0.1)"))).schedule.offset == 0.1


def test_the_schedule_is_shifted_once():
    plain, shifted = (build(with_(diffusion=Diffusion(shift=s))).schedule for s in (1.0, 3.0))
    t = torch.tensor(0.3, dtype=torch.float64)
    assert isinstance(shifted, Shifted)
    torch.testing.assert_close(shifted(t).rho, 3 * plain(t).rho)


def test_weights_that_know_the_spread_of_the_data_take_the_recipes():
    level = build(RECIPE).schedule(torch.tensor([0.5], dtype=torch.float64))
    one, own = (
        build(with_(diffusion=Diffusion(weight=w, sigma_data=0.25))).weight(level)
        for w in ("edm", "edm(sigma_data=2)")
    )
    torch.testing.assert_close(one - own, torch.tensor([16 - 0.25], dtype=torch.float64))


def test_the_network_has_the_dimensions_of_the_recipe():
    sizes = {}
    for size in SIZES:
        with torch.device("meta"):
            sizes[size] = parameter_count(build(with_(net=Net(size=size))))
    assert sizes["tiny"] < sizes["small"] < sizes["base"] < sizes["large"]
    wide = build(with_(net=Net(size="tiny", width=48)))
    assert wide.denoiser.net.shape == dataclasses.replace(SIZES["tiny"], width=48)


def test_parameters_are_counted():
    assert parameter_count(nn.Linear(3, 4)) == 16


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"diffusion": Diffusion(schedule="cosin")}, r"unknown diffusion.schedule 'cosin'.*'cosine'"),
        ({"diffusion": Diffusion(target="epsilon")}, r"unknown diffusion.target 'epsilon'.*eps"),
        ({"diffusion": Diffusion(weight="minsnr")}, r"unknown diffusion.weight 'minsnr'.*'min_snr'"),
        (
            {"diffusion": Diffusion(density="lognormal")},
            r"unknown diffusion.density 'lognormal'.*log_normal",
        ),
        ({"sampling": Sampling(sampler="dpm2m")}, r"unknown sampling.sampler 'dpm2m'"),
        ({"sampling": Sampling(sampler="ddim(eto=1)")}, r"sampling.sampler 'ddim'.*'eto'.*'eta'"),
        ({"sampling": Sampling(sampler="ddim(eta=3)")}, r"sampling.sampler 'ddim\(eta=3\)': .*eta"),
        ({"sampling": Sampling(grid="carras")}, r"unknown sampling.grid 'carras'.*'karras'"),
        ({"sampling": Sampling(grid="karras(rho_max='x')")}, r"sampling.grid"),
        (
            {"sampling": Sampling(grid="trailing", steps=5000)},
            r"sampling.grid 'trailing': 5000 steps",
        ),
        ({"sampling": Sampling(guidance=-1.0)}, r"sampling.guidance: got -1.0, expected 0 or more"),
        ({"diffusion": Diffusion(target="eps")}, r"sampling.grid 'uniform': target 'eps' cannot give x0"),
        ({"net": Net(size="custom", width=32)}, r"net.size: 'custom'.*net.patch.*net.attention"),
        ({"net": Net(size="tiny", attention=(2,))}, r"net.attention: got \[2\], expected levels from 0 to 1"),
        ({"net": Net(size="tiny", mults=())}, r"net.mults"),
        ({"conditions": {"x": ConditionSpec(kind="envelope")}}, r"x.kind: got 'envelope', which only sounds"),
        ({"conditions": {"training": ConditionSpec(kind="text")}}, r"none can be called 'training'"),
        ({"conditions": {"children": ConditionSpec(kind="text")}}, r"none can be called 'children'"),
        ({"data": Data(hold_out="midi")}, r"data.hold_out: got 'midi', expected COLUMN/N"),
        ({"data": Data(source="tones")}, r"data.source: 'tones' is audio, expected modality image"),
        ({"diffusion": Diffusion(schedule="edm(rho_min=0)")}, r"diffusion.schedule 'edm\(rho_min=0\)'"),
        ({"diffusion": Diffusion(weight="soft_min_snr(gamma=0)")}, r"diffusion.weight 'soft_min_snr"),
        ({"sampling": Sampling(grid="karras(power=0)")}, r"sampling.grid 'karras\(power=0\)'"),
        (
            {"sampling": Sampling(prompts=("a",)), "conditions": {}},
            r"sampling.prompts: got some",
        ),
        ({"modality": "smell"}, r"unknown modality 'smell'"),
        ({"sampling": Sampling(conditions={"style": "googel"})}, r"'googel'.*'google'"),
    ],
)
def test_what_a_recipe_says_wrong_is_named(sections, message):
    with pytest.raises(UserError, match=message):
        check(with_(**sections))


def test_a_recipe_needs_no_data_to_be_checked():
    open_label = {"style": ConditionSpec(kind="label")}
    check(with_(conditions=open_label, sampling=Sampling(conditions={"style": "anything"})))
    with pytest.raises(UserError, match="style"):
        build(with_(conditions=open_label))
