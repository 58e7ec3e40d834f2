"""Which emoji there are and what they are called, and what every builder of pictures of them needs.

An emoji is a concept, named by its code points.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tools.data.packages import Package, Say, fetch, unpack

EMOJIBASE = Package(
    name="emojibase-data",
    version="17.0.0",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    megabytes=6.7,
)
CREDIT = "Emojibase, Copyright (c) 2017-2019 Miles Johnson, MIT License (labels, tags, groups)."
_FLUENT_RIGHTS = "Copyright (c) Microsoft Corporation\nCopyright (c) 2023 LobeHub"

Concept = dict[str, Any]  # label, and the columns text, tags, group


def open_concepts(cache: Path, say: Say) -> tuple[dict[str, Concept], str]:
    """Returns every emoji by its code points, and the licence text (MIT) of what they are called.

    Raises:
        UserError: npm is needed and not installed.
        FetchError: the package could not be had.
    """
    files = unpack(fetch(EMOJIBASE, cache, say), re.compile(r"LICENSE|en/(data|messages)\.json"))
    return concepts_of(files), files["LICENSE"].decode()


def concepts_of(files: Mapping[str, bytes]) -> dict[str, Concept]:
    """Every emoji of emojibase, without skin tones and other components and without bare letters."""
    groups = {group["order"]: group["key"] for group in json.loads(files["en/messages.json"])["groups"]}
    found = {}
    for item in json.loads(files["en/data.json"]):
        group = groups.get(item.get("group"))
        if group is not None and group != "component":
            text = {"label": item["label"], "text": item["label"].lower(), "tags": item.get("tags", [])}
            found[concept_id(item["hexcode"])] = {**text, "group": group}
    return found


def concept_id(code_points: str) -> str:
    """Code points in lower-case hex joined by "-", without the selector of the emoji presentation."""
    return code_points.lower().replace("-fe0f", "")


def fluent_licence(mit: str) -> str:
    """The licence of Fluent Emoji as LobeHub packages them, made of another's licence text (MIT)."""
    return f"MIT License\n\n{_FLUENT_RIGHTS}\n\n{mit[mit.index('Permission is hereby granted') :]}"


def on_white(image: Image.Image, size: int) -> Image.Image:
    """Pads to a square, shrinks with premultiplied alpha (a pixel is the mean of its area), puts on white."""
    image = image.convert("RGBA")
    if image.width != image.height:
        side = max(image.size)
        square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    if image.width != size:
        image = image.convert("RGBa").resize((size, size), Image.Resampling.BOX).convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return page.convert("RGB")
