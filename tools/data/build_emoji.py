"""Builds the emoji folder: captioned emoji of five art styles as square RGB PNG on white.

Writes DIR/{style}/{concept}.png, DIR/metadata.jsonl (file_name, text, tags, style, group, concept) and
DIR/ATTRIBUTION.txt from five npm packages of 50 MB together. They are downloaded once with `npm pack`, which
runs nothing of theirs, checked against pinned SHA-256 sums, and kept. Drawing takes about 15 seconds.

Up to 32 pixels every style has a source that needs no enlarging; up to 64 google and twitter take larger
packages (136 MB more); beyond that they are left out, and beyond 256 fluent-3d too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import PIL
from PIL import Image

from mmdiff.errors import UserError
from tools.data import folder as folders
from tools.data.concepts import CREDIT, Concept, fluent_licence, on_white, open_concepts
from tools.data.emoji_styles import RESVG, Source, open_styles
from tools.data.folder import Row, command, compare, counted, counts, making, write_attribution, write_rows
from tools.data.packages import Say

ROOT = Path(__file__).resolve().parents[2]

# digest() of the build at 32 px with Pillow 13.0.0 and resvg_py 0.5.0
REFERENCE_SIZE = 32
REFERENCE = "73f0fc6bc59372a6ccf2a6af0b421e4b784244927a213343832751770360f05d"

APACHE = "Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0)"
CREDITS = {
    f"Noto Emoji, Copyright Google LLC, {APACHE}": {"google", "noto-v1"},
    "Twemoji, Copyright Twitter, Inc. and other contributors, graphics under CC-BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/)": {"twitter"},
    "Fluent Emoji, Copyright (c) Microsoft Corporation, MIT License; packaged by LobeHub (MIT) and Iconify": {
        "fluent-3d",
        "fluent-flat",
    },
}


def draw(
    folder: Path, concepts: Mapping[str, Concept], sources: Mapping[str, Source], size: int
) -> list[str]:
    """Writes all pictures and ``metadata.jsonl`` into ``folder``; returns its lines."""
    rows = []
    for style in sources:
        (folder / style).mkdir()
    for concept, info in counted(list(concepts.items()), "concepts drawn"):
        for style, get in sources.items():
            image = get(concept, size)
            if image is not None:
                name = f"{style}/{concept}.png"
                on_white(image, size).save(folder / name, optimize=True)
                text = {"file_name": name, "text": info["text"], "tags": info["tags"]}
                rows.append({**text, "style": style, "group": info["group"], "concept": concept})
    return write_rows(folder, rows)


def digest(folder: Path, rows: list[str]) -> str:
    """SHA-256 over all rows and pixels, which stay equal when only the PNG compression differs."""

    def pixels(name: str) -> bytes:
        with Image.open(folder / name) as image:
            return image.tobytes()

    return folders.digest(rows, pixels)


def attribution(styles: set[str], licences: Mapping[str, str], emojibase: str, apache: str) -> str:
    """The credits of the sources in use, and under them the licence texts that a copy must carry.

    Args:
        styles: the styles in use.
        licences: the licence texts of those styles whose package brings one (MIT).
        emojibase: the licence text of the captions (MIT).
        apache: the text of Apache-2.0.
    """
    credits = [f"{line}. Resized, on white." for line, users in CREDITS.items() if users & styles]
    credits.append(CREDIT)
    texts = {"Emojibase": emojibase}
    if licences:
        credits.append("emoji-data, Copyright (c) 2013 Cal Henderson, MIT License (sheets and index).")
        texts["emoji-data"] = "\n".join(sorted(set(licences.values())))
    if styles & {"fluent-3d", "fluent-flat"}:
        texts["Fluent Emoji"] = fluent_licence(emojibase)
    if styles & {"google", "noto-v1"}:
        texts["Noto Emoji"] = apache
    return folders.attribution("pictures and captions", credits, texts)


def build(out: Path, size: int, cache: Path, say: Say) -> list[str]:
    """Makes the folder ``out``, which appears only when it is complete; returns its rows.

    Raises:
        UserError: ``out`` is there already, ``size`` is not positive, or npm is needed and not installed.
        FetchError: A package could not be had.
    """
    if size < 1:
        raise UserError(f"--size {size}: expected a number of pixels of at least 1")
    with making(out) as part:
        concepts, mit = open_concepts(cache, say)
        sources, licences = open_styles(size, concepts, cache, say)
        apache = (ROOT / "LICENSE").read_text("utf-8")
        text = attribution(set(sources), licences, mit, apache)
        rows = draw(part, concepts, sources, size)
        write_attribution(part, text)
        if size == REFERENCE_SIZE:
            made = f"drawn with Pillow 13.0.0 and {' '.join(RESVG)}, and here is Pillow {PIL.__version__}"
            say(compare(digest(part, rows), REFERENCE, "pixel", made))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 1 failed while working, 2 the input was wrong."""
    parser = folders.parser("emoji", __doc__)
    parser.add_argument(
        "--size", type=int, metavar="N", default=32, help="pixels of a side (default: %(default)s)"
    )
    return command(parser, arguments, lambda o: build(o.out, o.size, o.cache, print), told)


def told(rows: list[Row]) -> Iterator[str]:
    """What there is."""
    yield f"{len(rows)} pictures of {len({row['concept'] for row in rows})} concepts"
    yield counts(rows, "style")
