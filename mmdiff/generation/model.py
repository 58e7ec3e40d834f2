"""From a recipe's words to a model: the place where names become schedule, target, network and sampler."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmdiff.conditions import ALIGNED, Conditions
from mmdiff.data.detune import Detune
from mmdiff.data.holdout import HoldOut
from mmdiff.data.made import MADE, fits
from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.grids import GRIDS
from mmdiff.diffusion.guidance import Guidance, guide
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import Program
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.diffusion.schedules import SCHEDULES, Schedule, Shifted
from mmdiff.diffusion.targets import TARGETS
from mmdiff.diffusion.weights import DENSITIES, WEIGHTS, Uncertainty, Weight
from mmdiff.errors import UserError
from mmdiff.modalities import Heard, Modality, Moving, Sample, modality_of
from mmdiff.naming import choose
from mmdiff.nets import SIZES, Condition, Given, Shape, UNet
from mmdiff.recipe import Diffusion, Net, Recipe, Sampling

Density = Callable[[Schedule, Tensor], Tensor]  # (schedule, u in (0, 1)) -> t


class Model(nn.Module):
    """What a run trains, and what is needed to use it.

    Attributes:
        names: of all conditions.
        conditions: raw conditions to what the network takes.
        denoiser: the network as an estimate of x0.
        modality: files to x0 and back, at the training size.
        curves: conditions that run along with the sample, each as two channels: its values, and 1 where it is
            given at all.
        informed: whether the network sees which places of a sample are known.
        schedule: the clock to noise levels, shift included.
        weight: of the x0 error at a level, for the loss.
        uncertainty: the loss that is expected at a level, where the recipe asks to learn it.
        density: where on the clock training draws.
        mean: of each channel of x0 as the modality makes it, [k 1]; None where x0 is not whitened.
        std: likewise. Both belong to the weights: what was drawn with others cannot be heard.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        diffusion = recipe.diffusion
        self.modality: Modality = modality_of(recipe)
        self.schedule = schedule_of(diffusion)
        self.weight = weight_of(diffusion)
        self.uncertainty = Uncertainty(sigma_data=diffusion.sigma_data) if diffusion.uncertainty else None
        self.density: Density = choose(DENSITIES, diffusion.density, "diffusion.density")
        choose(TARGETS, diffusion.target, "diffusion.target")
        self.names = tuple(recipe.conditions)
        self.conditions = Conditions(recipe.conditions, styles=self.modality.styles)
        self.curves = tuple(name for name, spec in recipe.conditions.items() if spec.kind in ALIGNED)
        if self.curves and not isinstance(self.modality, Heard):
            raise UserError(f"conditions.{self.curves[0]}.kind: got 'envelope', which only sounds have")
        channels, *sizes = self.modality.shape
        column = (channels, *(1,) * len(sizes))
        self.register_buffer("mean", torch.zeros(column) if self.modality.whitens else None)
        self.register_buffer("std", torch.ones(column) if self.modality.whitens else None)
        rank, seconds = len(sizes), self.modality.seconds_per_position
        axes = (3, 4) if rank == 3 else range(2, 2 + rank)  # the net of clips runs along frames by itself
        width, tokens = self.conditions.width, self.conditions.token_width
        self.informed = recipe.training.given > 0
        beside = beside_of(recipe)
        net = UNet(channels, axes, shape_of(recipe.net), width, tokens, seconds, len(beside))
        self.denoiser = Denoiser(net, diffusion.target, diffusion.sigma_data)

    def whiten(self, x0: Tensor) -> Tensor:
        """What the network works on, from x0 as the modality makes it."""
        if self.mean is None or self.std is None:
            return x0
        return (x0 - self.mean) / self.std

    def decode(self, x0: Tensor, modality: Modality) -> Sample:
        """The sample that one x0 of the network stands for; ``modality`` is at its size."""
        return modality.decode(self.coloured(x0))

    def coloured(self, x0: Tensor) -> Tensor:
        """Undoes ``whiten``, of one x0."""
        return x0 if self.mean is None or self.std is None else x0 * self.std + self.mean

    def beside(self, condition: Condition, known: Given | None, curves: Tensor | None) -> Condition:
        """``condition`` with what runs along with the samples; ``known`` is at the scale of x0."""
        known = known if self.informed else None
        some = curves if known is None else known.mask
        if some is None:
            return condition

        def zeros(channels: int) -> Tensor:
            return torch.zeros(len(some), channels, *some.shape[2:], device=some.device)

        mask = zeros(int(self.informed)) if known is None else known.mask.float()
        curves = zeros(2 * len(self.curves)) if curves is None else curves
        given = None if known is None else Given(known.mask, known.values / self.denoiser.sigma_data)
        return condition._replace(given=given, beside=torch.cat([mask, curves], 1))

    def program(self, sampling: Sampling, strength: float = 1.0) -> Program:
        """Compiles the sampler, grid and steps of ``sampling`` for this model's schedule and target.

        Args:
            strength: the share of the steps to take, the last ones, at least one; below 1 a sample is varied.

        Raises:
            UserError: an unknown name or option, steps that do not fit, or a target that says nothing about
                x0 at a level of the grid; names the key.
        """
        levels = levels_of(sampling, self.schedule)
        first = min(round(sampling.steps * (1 - strength)), sampling.steps - 1)
        levels = NoiseLevel(*(part[first:] for part in levels))
        sampler = choose(SAMPLERS, sampling.sampler, "sampling.sampler")
        compiled: Program = _made(sampler, "sampling.sampler", sampling.sampler)(levels)
        try:
            self.denoiser.check(compiled.levels)
        except ValueError as error:
            raise UserError(f"sampling.grid {sampling.grid!r}: {error}") from error
        return compiled


def beside_of(recipe: Recipe) -> list[str]:
    """What each channel is that the network sees beside those of the sample, in their order."""
    curves = [name for name, spec in recipe.conditions.items() if spec.kind in ALIGNED]
    parts = [f"{part} of {name}" for name in curves for part in ("values", "presence")]
    return ["given", *parts] if recipe.training.given else parts


def build(recipe: Recipe) -> Model:
    """The untrained model of a recipe, with the weights that torch's global generator gives.

    Raises:
        UserError: a name or option that does not exist, or a shape that no network can have; names the key.
    """
    return Model(recipe)


def check(recipe: Recipe) -> None:
    """Raises UserError if a word or a number of the recipe cannot be used; needs no data and no memory."""
    conditions = {
        name: dataclasses.replace(spec, values=("any",)) if spec.kind == "label" and not spec.values else spec
        for name, spec in recipe.conditions.items()
    }
    with torch.device("meta"):
        model = build(dataclasses.replace(recipe, conditions=conditions))
    half, diffusion = torch.full((), 0.5, dtype=torch.float64), recipe.diffusion
    level = _made(model.schedule, "diffusion.schedule", diffusion.schedule)(half)
    _made(model.weight, "diffusion.weight", diffusion.weight)(level)
    model.program(recipe.sampling)
    guidance_of(recipe.sampling, recipe.conditions)
    overlap_of(recipe.sampling.overlap, model.modality)
    if recipe.sampling.prompts and not any(spec.kind == "text" for spec in recipe.conditions.values()):
        raise UserError("sampling.prompts: got some, expected none: no condition is of kind 'text'")
    given = recipe.sampling.conditions.items()
    try:
        model.conditions.ids(
            {n: v for n, v in given if recipe.conditions[n].values or not _is_label(recipe, n)}
        )
    except UserError as error:
        raise UserError(f"sampling.conditions: {error}") from None
    for spec, parse in ((recipe.data.hold_out, HoldOut.parse), (recipe.data.detune, Detune.parse)):
        if spec is not None:
            parse(spec)
    if recipe.data.source in MADE:
        fits(recipe)


def _is_label(recipe: Recipe, name: str) -> bool:
    return recipe.conditions[name].kind == "label"


def parameter_count(module: nn.Module) -> int:
    """How many numbers training sets."""
    return sum(parameter.numel() for parameter in module.parameters())


def schedule_of(diffusion: Diffusion) -> Schedule:
    """The schedule that a recipe names, shifted once."""
    kind = choose(SCHEDULES, diffusion.schedule, "diffusion.schedule")
    base: Schedule = _made(kind, "diffusion.schedule", diffusion.schedule)()
    return base if diffusion.shift == 1 else Shifted(base, diffusion.shift)


def weight_of(diffusion: Diffusion) -> Weight:
    """The weight that a recipe names; one that depends on the data's spread takes the recipe's."""
    chosen: Any = choose(WEIGHTS, diffusion.weight, "diffusion.weight")
    bound = chosen.keywords if isinstance(chosen, functools.partial) else {}
    if "sigma_data" in inspect.signature(chosen).parameters and "sigma_data" not in bound:
        chosen = functools.partial(chosen, sigma_data=diffusion.sigma_data)
    weight: Weight = chosen
    return weight


def levels_of(sampling: Sampling, schedule: Schedule) -> NoiseLevel:
    """The grid that ``sampling`` names: ``steps + 1`` levels down to no noise."""
    grid = choose(GRIDS, sampling.grid, "sampling.grid")
    levels: NoiseLevel = _made(grid, "sampling.grid", sampling.grid)(schedule, sampling.steps)
    return levels


def unguided(sampling: Sampling) -> Sampling:
    """The same without guidance, for what is asked to be nothing: there is nothing to guide towards."""
    return dataclasses.replace(sampling, guidance=1.0, guidance_by={}, interval=None, rescale=0.0)


def guidance_of(sampling: Sampling, asked: Collection[str]) -> Guidance:
    """The guidance that ``sampling`` asks for, of a sample with the conditions ``asked``.

    Raises:
        UserError: a scale that is negative or not finite, an interval or a rescale that cannot be.
    """
    scale, by = sampling.guidance, sampling.guidance_by
    for key, weight in {"guidance": scale, **{f"guidance_by.{name}": w for name, w in by.items()}}.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"sampling.{key}: got {weight}, expected 0 or more; 1 is off")
    own = {name: weight for name, weight in by.items() if name in asked}
    if own and own.keys() == set(asked):  # what pulls least does not need a branch of its own
        scale = min(own.values())
    each = tuple(sorted((name, weight) for name, weight in own.items() if weight != scale))
    make = _made(guide, "sampling.guidance", str(sampling.guidance))
    guidance: Guidance = make(scale, sampling.interval, sampling.rescale, each)
    return guidance


def overlap_of(overlap: int | None, trained: Modality) -> int:
    """Frames that a window of a long clip shares with the one before; a quarter of it when None is asked for.

    Returns 0 where there is no such number: for what is no clip, and for clips of one frame.
    """
    if not isinstance(trained, Moving):
        if overlap is not None:
            raise UserError(f"sampling.overlap: got {overlap}, expected none: the run makes {trained.noun}")
        return 0
    if overlap is None:
        return min(max(trained.frames // 4, 1), trained.frames - 1)
    if not 1 <= overlap < trained.frames:
        windows = f"{trained.frames} frames of a window"
        raise UserError(f"sampling.overlap: got {overlap}, expected at least 1 and less than the {windows}")
    return overlap


def shape_of(net: Net) -> Shape:
    """The dimensions of the network: those of its size, except what the recipe gives.

    Raises:
        UserError: size "custom" without all dimensions, or attention at a level that does not exist.
    """
    fields = [field.name for field in dataclasses.fields(Shape)]
    given: Mapping[str, Any] = {n: v for n in fields if (v := getattr(net, n)) is not None}
    missing = [f"net.{name}" for name in fields if name not in given]
    if net.size == "custom" and missing:
        raise UserError(f"net.size: 'custom' needs every dimension; missing: {', '.join(missing)}")
    shape = Shape(**given) if net.size == "custom" else dataclasses.replace(SIZES[net.size], **given)
    if shape.width % 2:
        raise UserError(f"net.width: got {shape.width}, expected an even number")
    if not shape.mults:
        raise UserError("net.mults: got no level, expected one or more, such as [1, 2]")
    if any(level >= len(shape.mults) for level in shape.attention):
        deepest = len(shape.mults) - 1
        raise UserError(f"net.attention: got {list(shape.attention)}, expected levels from 0 to {deepest}")
    return shape


def _made(make: Callable[..., Any], key: str, spec: str) -> Callable[..., Any]:
    """``make`` whose complaints about its options name the key of the recipe."""

    def making(*args: Any) -> Any:
        try:
            return make(*args)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise UserError(f"{key} {spec!r}: {error}") from error

    return making
