"""Modalities: how a file becomes x0 and x0 a file. A new one is one file and one line here."""

from mmdiff.data.badfile import BadFile
from mmdiff.errors import UserError
from mmdiff.modalities.audio.modality import Audio
from mmdiff.modalities.base import Heard, Modality, Moving, heard
from mmdiff.modalities.image import Image
from mmdiff.modalities.sample import Sample
from mmdiff.modalities.video import Video
from mmdiff.naming import suggestion
from mmdiff.recipe import Recipe

__all__ = [
    "MODALITIES",
    "Audio",
    "BadFile",
    "Heard",
    "Image",
    "Modality",
    "Moving",
    "Sample",
    "Video",
    "heard",
    "modalities_of",
    "modality_of",
    "plays",
]

MODALITIES: dict[str, type[Modality]] = {"image": Image, "audio": Audio, "video": Video}


def plays(suffix: str) -> str:
    """What of HTML plays a file that a run leaves, audio or video; "" for what is only looked at."""
    return next((kind.plays for kind in MODALITIES.values() if kind.suffix == suffix), "")


def modality_of(recipe: Recipe) -> Modality:
    """The modality that a recipe names, with the sizes that it gives."""
    if recipe.modality not in MODALITIES:
        raise UserError(f"unknown modality {recipe.modality!r}{suggestion(recipe.modality, MODALITIES)}")
    return MODALITIES[recipe.modality].of(recipe)


def modalities_of(recipe: Recipe) -> list[Modality]:
    """That modality, and the same at each of the recipe's further sizes."""
    modality = modality_of(recipe)
    return [modality, *(modality.sized(modality.size_with({"size": size})) for size in recipe.data.sizes)]
