"""Samples that code makes instead of files, by the names that `data.source` gives them."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from mmdiff.data.bounce import Bounce
from mmdiff.data.shapes import Shapes
from mmdiff.data.source import Source
from mmdiff.data.tones import Tones
from mmdiff.errors import UserError
from mmdiff.recipe import Data, Recipe, pixels


class Made(NamedTuple):
    """What a kind of samples is: of which modality, and how they are made from a seed."""

    modality: str
    source: Callable[[int, Data], Source]


def shapes(seed: int, data: Data) -> Shapes:
    return Shapes(seed, data.length, pixels(data.size), data.cache_mb)


def tones(seed: int, data: Data) -> Tones:
    return Tones(seed, data.length, data.sample_rate, data.seconds, data.cache_mb)


def bounce(seed: int, data: Data) -> Bounce:
    size, fps = pixels(data.size), Fraction(data.fps)
    return Bounce(seed, data.length, size, data.frames, fps, data.cache_mb, data.under_way)


def fits(recipe: Recipe) -> None:
    """Raises UserError if the samples that a recipe names in place of files are none of its modality."""
    kind, data = MADE[recipe.data.source], recipe.data
    if recipe.modality != kind.modality:
        raise UserError(
            f"data.source: {data.source!r} is {kind.modality}, expected modality {recipe.modality}"
        )
    if data.channels != 1:
        raise UserError(f"data.channels: got {data.channels}, expected 1 with data.source {data.source!r}")


def made(recipe: Recipe, seed: int) -> Source:
    """The samples that a recipe names in place of files, from a seed. Raises UserError if they do not fit."""
    fits(recipe)
    return MADE[recipe.data.source].source(seed, recipe.data)


MADE = {"shapes": Made("image", shapes), "tones": Made("audio", tones), "bounce": Made("video", bounce)}
