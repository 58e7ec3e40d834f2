"""Small folders of pictures, and what a scan says of them."""

import json
from pathlib import Path

from mmdiff.data.scan import Listing
from tests.data import zoo

SUFFIXES = frozenset({".png", ".jpg"})
PICTURE = zoo.saved(zoo.blocks())


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)


def rows(folder: Path, *lines: dict | list | str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


def row(name: object, text: object = "x", **more: object) -> dict:
    return {"file_name": name, "text": text, **more}


def used(listing: Listing) -> dict[str, str]:
    return {entry.file_name: entry.columns["text"] for entry in listing.entries}


def refused(listing: Listing) -> dict[str, str]:
    return {rejection.file_name: rejection.reason for rejection in listing.rejections}
