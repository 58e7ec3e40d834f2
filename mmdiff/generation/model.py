"""From a recipe to what it describes: the modules that learn, and the mathematics that needs no learning."""

from collections.abc import Callable
from dataclasses import fields, replace

from torch import Tensor, nn

from mmdiff.conditions import Conditions
from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.grids import GRIDS
from mmdiff.diffusion.guidance import Guidance, guide
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import Program
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.diffusion.schedules import SCHEDULES, Schedule, Shifted
from mmdiff.diffusion.targets import TARGETS
from mmdiff.diffusion.weights import DENSITIES, WEIGHTS
from mmdiff.errors import UserError
from mmdiff.modalities import Image, modality_of
from mmdiff.naming import choose
from mmdiff.nets import SIZES, Shape, UNet
from mmdiff.recipe import Diffusion, Net, Recipe, Sampling


class Model(nn.Module):
    """What a run learns, with everything that is needed to train it or to sample from it.

    Attributes:
        conditions, denoiser: the modules; their parameters are the checkpoint.
        modality: how samples become x0 and back.
        schedule: t -> level, shifted as the recipe says.
        weight, density: of the training loss.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.modality: Image = modality_of(recipe)
        self.schedule = schedule_of(recipe.diffusion)
        self.weight: Callable[[NoiseLevel], Tensor] = choose(WEIGHTS, recipe.diffusion.weight, "diffusion.weight")
        self.density: Callable[[Schedule, Tensor], Tensor] = choose(
            DENSITIES, recipe.diffusion.density, "diffusion.density"
        )
        self.conditions = Conditions(recipe.conditions)
        channels, *axes = self.modality.shape
        net = UNet(
            channels,
            range(2, 2 + len(axes)),
            shape_of(recipe.net),
            vector=self.conditions.width,
            tokens=self.conditions.token_width,
        )
        self.denoiser = Denoiser(net, recipe.diffusion.target, recipe.diffusion.sigma_data)


def build(recipe: Recipe) -> Model:
    """Returns a new model; its first weights come from torch's default generator.

    Raises:
        UserError: the recipe names something that does not exist, or a combination that cannot work.
    """
    check(recipe)
    return Model(recipe)


def shape_of(net: Net) -> Shape:
    """Returns the preset of that size with the recipe's own dimensions in place of its own."""
    own = {field.name: getattr(net, field.name) for field in fields(Shape)}
    given = {name: value for name, value in own.items() if value is not None}
    if net.size == "custom":
        if missing := sorted(own.keys() - given.keys()):
            raise UserError(f"net.{missing[0]}: missing, and net.size 'custom' has no preset for it")
        return Shape(**given)
    return replace(SIZES[net.size], **given)


def schedule_of(diffusion: Diffusion) -> Schedule:
    """Returns the schedule; a shift of 1 leaves it as it is."""
    base: Schedule = choose(SCHEDULES, diffusion.schedule, "diffusion.schedule")()
    return base if diffusion.shift == 1 else Shifted(base, diffusion.shift)


def program_of(schedule: Schedule, sampling: Sampling) -> Program:
    """Returns the table of coefficients that walks down the grid with the sampler.

    Raises:
        UserError: unknown names, or a sampler that cannot start where the grid does.
    """
    grid = choose(GRIDS, sampling.grid, "sampling.grid")
    sampler = choose(SAMPLERS, sampling.sampler, "sampling.sampler")
    try:
        program: Program = sampler(grid(schedule, sampling.steps))
    except ValueError as error:
        raise UserError(f"sampling.sampler {sampling.sampler!r} on grid {sampling.grid!r}: {error}") from None
    return program


def guidance_of(sampling: Sampling) -> Guidance:
    """Returns how the branches are combined."""
    return guide(sampling.guidance, sampling.interval, sampling.rescale)


def check(recipe: Recipe) -> None:
    """Raises UserError for names that do not exist and for combinations that cannot work; builds no network."""
    diffusion = recipe.diffusion
    modality_of(recipe)
    shape_of(recipe.net)
    choose(WEIGHTS, diffusion.weight, "diffusion.weight")
    choose(DENSITIES, diffusion.density, "diffusion.density")
    choose(TARGETS, diffusion.target, "diffusion.target")
    program = program_of(schedule_of(diffusion), recipe.sampling)
    try:
        Denoiser(nn.Identity(), diffusion.target, diffusion.sigma_data).check(program.levels)
    except ValueError as error:
        raise UserError(f"diffusion.target with sampling.grid {recipe.sampling.grid!r}: {error}") from None
