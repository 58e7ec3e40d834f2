"""Builds the loops folder: 165 short recordings and loops as they were published, as FLAC of 44.1 kHz.

Writes DIR/*.flac, DIR/metadata.jsonl (file_name, text, label, seconds, sample_rate, channels, source) and
DIR/ATTRIBUTION.txt. The sounds are those of Sonic Pi, from the Debian package sonic-pi-samples (22 MB), which
is downloaded once with `apt-get download` (after `apt-get update`), checked against a pinned SHA-256 sum,
kept, and never installed. The files are byte for byte those of the package; captions come from their names.
"""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import soundfile

from tools.data import folder as folders
from tools.data.folder import Row, command, counts, making, write_attribution, write_rows
from tools.data.packages import Debian, Say, fetch, unpack

SAMPLES = Debian(
    name="sonic-pi-samples",
    version="3.2.2~repack-8",
    sha256="25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
    megabytes=21.9,
)
PLACE = "usr/share/sonic-pi/samples/"
LABELS = {  # the first word of a file's name -> what it means
    "ambi": "ambient sound",
    "bass": "bass",
    "bd": "bass drum",
    "drum": "drum",
    "elec": "electronic percussion",
    "glitch": "glitch",
    "guit": "guitar",
    "loop": "loop",
    "mehackit": "toy electronics",
    "misc": "sound effect",
    "perc": "percussion",
    "sn": "snare drum",
    "tabla": "tabla",
    "vinyl": "vinyl record",
}
WORDS = {  # further words that are not plain English
    "hi": "high",
    "lo": "low",
    "filt": "filtered",
    "woosh": "whoosh",
    "swoosh": "whoosh",
    "c": "in C",
    "f": "in F",
    "g": "in G",
    "em9": "E minor 9 chord",
    "3d": "3D",
    "dnb": "drum and bass",
    "97": "at 97 bpm",
    "mehackit": "toy electronics",
    "perc": "percussion",
}


def caption(stem: str) -> tuple[str, str]:
    """The label and the caption of a file: of drum_tom_hi_soft, "drum" and "drum, tom high soft"."""
    prefix, *words = stem.split("_")
    words = [word if word in WORDS else re.sub(r"(\d+)$", r" \1", word) for word in words]
    words = [WORDS.get(word, word) for group in words for word in group.split()]
    return LABELS[prefix], f"{LABELS[prefix]}, {' '.join(words)}"


def sources(readme: str) -> dict[str, str]:
    """Where each recording comes from, by its name without underscores, as the package's README says."""
    found = re.findall(r"`:(\w+)`\s*-\s*(https?://\S+)", readme)
    return {name.replace("_", ""): url for name, url in found}


def copy(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Writes all sounds and ``metadata.jsonl`` into ``folder``; returns its lines."""
    origin = sources(files[f"{PLACE}README.md"].decode())
    rows: list[Row] = []
    for path, data in files.items():
        name = PurePosixPath(path)
        if name.suffix == ".flac":
            (folder / name.name).write_bytes(data)
            info = soundfile.info(io.BytesIO(data))
            label, text = caption(name.stem)
            rows.append(
                {
                    "file_name": name.name,
                    "text": text,
                    "label": label,
                    "seconds": round(info.frames / info.samplerate, 6),
                    "sample_rate": info.samplerate,
                    "channels": info.channels,
                    "source": origin[name.stem.replace("_", "")],
                }
            )
    return write_rows(folder, rows)


def attribution(readme: str) -> str:
    """That all is in the public domain, and the README that says so, with every recording's origin."""
    credit = "Sonic Pi samples, CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/), unchanged."
    return folders.attribution("sounds", [credit], {"Sonic Pi samples": readme})


def build(out: Path, cache: Path, say: Say) -> list[str]:
    """Makes the folder ``out``, which appears only when it is complete; returns its rows.

    Raises:
        UserError: ``out`` is there already, or apt-get is needed and not installed.
        FetchError: The package could not be had.
    """
    with making(out) as part:
        files = unpack(fetch(SAMPLES, cache, say), re.compile(rf"{PLACE}(README\.md|[^/]+\.flac)"))
        rows = copy(part, files)
        write_attribution(part, attribution(files[f"{PLACE}README.md"].decode()))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 1 failed while working, 2 the input was wrong."""
    parser = folders.parser("loops", __doc__)
    return command(parser, arguments, lambda o: build(o.out, o.cache, print), told)


def told(rows: list[Row]) -> Iterator[str]:
    """What there is."""
    yield f"{len(rows)} sounds, {sum(row['seconds'] for row in rows):.0f} s"
    yield counts(rows, "label")
