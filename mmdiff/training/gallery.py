"""What a run draws while it trains: the same prompts and seeds each time, so steps compare."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from mmdiff import files
from mmdiff.generation.model import Model
from mmdiff.generation.pipeline import Ask, Generated, Pipeline
from mmdiff.generation.provenance import Origin
from mmdiff.generation.sheet import contact
from mmdiff.modalities import plays
from mmdiff.recipe import Recipe
from mmdiff.run import Run

COLUMNS = 8  # of the grid, as far as whole prompts fit


class Gallery:
    """Draws ``sampling.n`` samples of each prompt with the weights that the model has at the moment.

    Args:
        run: where ``samples/step-NNNNNNNN/`` is written.
        model: the one in training.
        recipe: its ``sampling`` says how to draw.
        prompts: caption and values of the other conditions.
    """

    def __init__(self, run: Run, model: Model, recipe: Recipe, prompts: Sequence[Ask]) -> None:
        self.run, self.model, self.recipe, self.prompts = run, model, recipe, prompts

    def draw(self, step: int) -> Path:
        """Writes every sample and ``grid.png``, all or nothing, and returns the path of the grid."""
        folder = self.run.samples / f"step-{step:08d}"
        folder.parent.mkdir(exist_ok=True)
        files.sweep(folder.parent)
        part = files.temporary(folder.with_name(f"new-{folder.name}"))
        files.remove(part)
        part.mkdir()
        try:
            # A network compiled for the shapes of training would be compiled again for those of sampling,
            # which takes longer than drawing
            with torch.compiler.set_stance("force_eager"):
                drawn = list(self._samples(step))
            for number, generated in enumerate(drawn):
                generated.save(part / file_name(number, generated))
            columns = self.recipe.sampling.n * max(1, COLUMNS // self.recipe.sampling.n)
            contact(drawn, [caption(one) for one in drawn], part / "grid.png", columns)
            files.remove(folder)
            part.replace(folder)
        except BaseException:
            files.remove(part)
            raise
        return folder / "grid.png"

    def _samples(self, step: int) -> Iterator[Generated]:
        origin = Origin(str(self.run.path), self.recipe.name, None, "ema", step)
        pipeline = Pipeline(self.model, self.recipe, origin)
        yield from pipeline.each(self.prompts, self.recipe.sampling.n, seed=self.recipe.training.seed)


def played(folder: Path) -> list[Path]:
    """The samples in a folder that can be played, sounds or clips, in order."""
    return sorted(path for path in folder.iterdir() if plays(path.suffix))


def caption(generated: Generated) -> str:
    """What a sample was asked to be."""
    return generated.prompt or ", ".join(generated.conditions.values()) or "anything"


def file_name(number: int, generated: Generated) -> str:
    """The name of a sample in a folder of numbered ones."""
    return f"{number:03d}-{slug(caption(generated))}{generated.modality.suffix}"


def slug(text: str) -> str:
    """A short file name that shows what is meant on any system."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "sample"
