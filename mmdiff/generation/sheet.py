"""Contact sheets: pictures in a grid, each with its caption under it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import mmdiff
from mmdiff import files
from mmdiff.generation.pipeline import Generated
from mmdiff.modalities import Image as Pictures
from mmdiff.modalities import Sample

SHOWN = 128  # pixels of the longer side that small pictures are enlarged towards
LARGEST_ZOOM = 4
MARGIN = 8
FONT_SIZE = 12
LINES = 3  # of a caption; the rest is cut with an ellipsis
PAPER, INK = (255, 255, 255), (32, 32, 32)


def zoom(pictures: Sequence[Image.Image]) -> int:
    """Returns the whole factor, 1 to 4, that makes the largest of ``pictures`` about 128 pixels long."""
    longest = max(max(picture.size) for picture in pictures)
    return max(1, min(LARGEST_ZOOM, SHOWN // longest))


def wrap(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    """Breaks ``text`` between words into at most three lines of ``width`` pixels; too long words are cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    kept = lines[:LINES]
    if len(lines) > LINES:
        kept[-1] += "..."
    return [_cut(line, width, font) for line in kept]


def _cut(line: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    if font.getlength(line) <= width:
        return line
    line = line.removesuffix("...")
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."


def sheet(
    pictures: Sequence[Image.Image], captions: Sequence[str], columns: int | None = None
) -> Image.Image:
    """Returns one RGB picture that shows all ``pictures`` with their captions, row by row.

    Tiny pictures are enlarged by a whole factor without smoothing, so that every pixel stays visible.
    ``columns`` defaults to a grid that is about square.

    Raises:
        ValueError: There is no picture, or not one caption for each.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(
            f"sheet: got {len(pictures)} pictures and {len(captions)} captions, expected one caption for each"
        )
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    font, factor = ImageFont.load_default(size=FONT_SIZE), zoom(pictures)
    width, height = (factor * max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    texts = [wrap(caption, width, font) for caption in captions]
    line = FONT_SIZE + 3
    cell = width + MARGIN, height + MARGIN + line * max(map(len, texts))
    rows = math.ceil(len(pictures) / columns)
    page = Image.new("RGB", (MARGIN + columns * cell[0], MARGIN + rows * cell[1]), PAPER)
    draw = ImageDraw.Draw(page)
    for place, (picture, lines) in enumerate(zip(pictures, texts, strict=True)):
        left, top = MARGIN + place % columns * cell[0], MARGIN + place // columns * cell[1]
        size = picture.width * factor, picture.height * factor
        page.paste(picture.convert("RGB").resize(size, Image.Resampling.NEAREST), (left, top))
        for number, text in enumerate(lines):
            draw.text((left, top + height + 1 + number * line), text, INK, font)
    return page


def contact(
    samples: Sequence[Generated], captions: Sequence[str], path: Path, columns: int | None = None
) -> Path:
    """Writes the ``sheet`` of samples as a PNG with the provenance of each, whole or not at all."""
    page = sheet([one.picture for one in samples], captions, columns)
    told = {"mmdiff": mmdiff.__version__, "samples": [dict(one.provenance) for one in samples]}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, Pictures().to_bytes(Sample(torch.from_numpy(np.array(page))), ".png", told))
    return path
