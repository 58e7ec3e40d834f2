"""Builds the notes folder: single notes of 24 instruments as mono FLAC, with their pitch and velocity.

Writes DIR/{instrument}/{midi}_{velocity}.flac, DIR/metadata.jsonl (file_name, text, instrument, family, midi,
velocity, sample_rate, seconds) and DIR/ATTRIBUTION.txt: 24 pitches of each instrument, soft and loud, 1.5 s
each and held for 1 s. The sounds are those of the Fluid R3 General MIDI soundfont, from the Debian package
fluid-soundfont-gm (120 MB), which is downloaded once with `apt-get download` (after `apt-get update`),
checked against a pinned SHA-256 sum, kept, and never installed. Building takes about ten seconds.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
from jaxtyping import Float32

from mmdiff.errors import UserError
from tools.data import folder as folders
from tools.data.folder import Row, command, compare, counted, counts, making, write_attribution, write_rows
from tools.data.packages import Debian, Say, fetch, unpack, wheel

SOUNDFONT = Debian(
    name="fluid-soundfont-gm",
    version="3.1-5.3",
    sha256="6f531493ac4e4d9772fd96b2488ea1790af81c196135fbdd25997da0781fc60e",
    megabytes=119.6,
)
FONT, COPYRIGHT = "usr/share/sounds/sf2/FluidR3_GM.sf2", "usr/share/doc/fluid-soundfont-gm/copyright"
SYNTH = "tinysoundfont", "0.3.7"
SYNTH_WHEELS = (  # CPython 3.11, then 3.12: Linux (glibc, musl) on x86-64, macOS on arm64, Windows on x86-64
    "f638536ce801dd77526419e25a53576ffd4f7d58d6e1673e6b70a1a8c4773448",
    "9860a285d346bb4910a8446efabc5671777e4df9424409e926a4c9a40d4de998",
    "99650cb625ebfe808fe24ed279b5970a9b0b2133f624dcaceddca4f364bb5fe6",
    "86453db5bb713c28db505f9a9545702942278ce69556b8fd73135ac652fda5b6",
    "c48a614fbc0287f16ad4bef857c79e80ba9e413474fbe47f460d2dd1ec449d4b",
    "56f190d48865ba06e3b1cdfaab5e35c630a3941687c1d42fd9ae1bb81210d152",
    "b871a995adb9ee6e0f14f670311109f48ab6faed7eb746a3ef0be3c5792ad5b7",
    "402269dc9da85d722697a96254dbd64d57fe083f16e56b662d8ed897f53a1aa0",
)

# digest() of the build at 16 kHz with tinysoundfont 0.3.7 on x86-64
REFERENCE_RATE = 16000
REFERENCE = "56ffe86613130123b96e4957475b3c19e13c37227f4a81df47a2802f9ab80469"

# Name -> (General MIDI program, family, lowest pitch); all pitches are even, so that instruments share them.
INSTRUMENTS = {
    "grand piano": (0, "keyboard", 36),
    "electric piano": (4, "keyboard", 36),
    "harpsichord": (6, "keyboard", 36),
    "music box": (10, "mallet", 54),
    "marimba": (12, "mallet", 46),
    "church organ": (19, "organ", 36),
    "accordion": (21, "organ", 46),
    "nylon guitar": (24, "guitar", 40),
    "distortion guitar": (30, "guitar", 40),
    "electric bass": (33, "bass", 28),
    "violin": (40, "strings", 46),
    "cello": (42, "strings", 36),
    "pizzicato strings": (45, "strings", 42),
    "harp": (46, "strings", 34),
    "choir": (52, "voice", 42),
    "trumpet": (56, "brass", 52),
    "trombone": (57, "brass", 40),
    "tenor saxophone": (66, "reed", 42),
    "oboe": (68, "reed", 50),
    "clarinet": (71, "reed", 50),
    "flute": (73, "flute", 60),
    "square lead": (80, "synth", 48),
    "sitar": (104, "plucked", 48),
    "steel drums": (114, "percussion", 52),
}
PITCHES, STEP = 24, 2  # of each instrument, and the semitones between them
VELOCITIES = {"soft": 45, "loud": 110}
SECONDS, HELD, FADE, REST = 1.5, 1.0, 0.03, 0.5  # of a note, of its key, of the end, between two notes
PEAK = 0.8  # of each instrument's loudest note
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

Wave = Float32[np.ndarray, " s"]


def note_name(midi: int) -> str:
    """Such as C4 for 60."""
    return f"{NAMES[midi % 12]}{midi // 12 - 1}"


class Renderer:
    """Plays single notes of a soundfont."""

    def __init__(self, synth: ModuleType, font: bytes, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._synth = synth.Synth(gain=0, samplerate=sample_rate)
        self._font = self._synth.sfload(font)

    def note(self, program: int, midi: int, velocity: int) -> Wave:
        """One note as mono: held, then released, the end faded out."""
        self._synth.sounds_off()
        self._take(REST)
        self._synth.program_select(0, self._font, 0, program, False)
        self._synth.noteon(0, midi, velocity)
        start = self._take(HELD)
        self._synth.noteoff(0, midi)
        wave = np.concatenate([start, self._take(SECONDS - HELD)])
        tail = round(FADE * self.sample_rate)
        wave[-tail:] *= np.linspace(1, 0, tail, dtype=np.float32)
        return wave

    def _take(self, seconds: float) -> Wave:
        sound = bytes(self._synth.generate(round(seconds * self.sample_rate)))
        return np.frombuffer(sound, np.float32).reshape(-1, 2).mean(1)


def render(folder: Path, renderer: Renderer) -> list[str]:
    """Writes all notes and ``metadata.jsonl`` into ``folder``; returns its lines."""
    rows: list[Row] = []
    for instrument, (program, family, lowest) in counted(list(INSTRUMENTS.items()), "instruments rendered"):
        place = instrument.replace(" ", "_")
        (folder / place).mkdir()
        waves = {
            (midi, loudness): renderer.note(program, midi, velocity)
            for midi in range(lowest, lowest + PITCHES * STEP, STEP)
            for loudness, velocity in VELOCITIES.items()
        }
        scale = PEAK / max(np.abs(wave).max() for wave in waves.values())
        for (midi, loudness), wave in waves.items():
            row = {
                "file_name": f"{place}/{midi}_{VELOCITIES[loudness]}.flac",
                "text": f"a {loudness} {instrument} playing {note_name(midi)}",
                "instrument": instrument,
                "family": family,
                "midi": midi,
                "velocity": VELOCITIES[loudness],
                "sample_rate": renderer.sample_rate,
                "seconds": SECONDS,
            }
            soundfile.write(folder / row["file_name"], wave * scale, renderer.sample_rate, subtype="PCM_16")
            rows.append(row)
    return write_rows(folder, rows)


def digest(folder: Path, lines: list[str]) -> str:
    """SHA-256 over all rows and samples, which stay equal when only the FLAC compression differs."""
    return folders.digest(lines, lambda name: soundfile.read(folder / name, dtype="int16")[0].tobytes())


def attribution(copyright: str) -> str:
    """The credit of the soundfont, and under it what its package says of its makers and its licence."""
    credit = "Fluid (R3) soundfont, Copyright (c) 2000-2002, 2008 Frank Wen, 2008 Toby Smithe, MIT License."
    credits = [f"{credit} Rendered to single notes."]
    return folders.attribution("sounds", credits, {"Fluid (R3) soundfont": copyright})


def build(out: Path, sample_rate: int, cache: Path, say: Say) -> list[str]:
    """Makes the folder ``out``, which appears only when it is complete; returns its rows.

    Raises:
        UserError: ``out`` is there already, the rate is out of range, or apt-get is needed and not installed.
        FetchError: A package could not be had.
    """
    if not 8000 <= sample_rate <= 96000:
        raise UserError(f"--sample-rate {sample_rate}: expected 8000 to 96000 Hz")
    with making(out) as part:
        files = unpack(fetch(SOUNDFONT, cache, say), re.compile(f"{re.escape(FONT)}|{re.escape(COPYRIGHT)}"))
        synth = wheel(*SYNTH, SYNTH_WHEELS, cache, say)
        rows = render(part, Renderer(synth, files[FONT], sample_rate))
        write_attribution(part, attribution(files[COPYRIGHT].decode()))
        if sample_rate == REFERENCE_RATE:
            made = f"rendered with {' '.join(SYNTH)} on x86-64"
            say(compare(digest(part, rows), REFERENCE, "sample", made))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 1 failed while working, 2 the input was wrong."""
    parser = folders.parser("notes", __doc__)
    add = parser.add_argument
    add("--sample-rate", type=int, metavar="HZ", default=16000, help="of the notes (default: %(default)s)")
    return command(parser, arguments, lambda o: build(o.out, o.sample_rate, o.cache, print), told)


def told(rows: list[Row]) -> Iterator[str]:
    """What there is."""
    yield f"{len(rows)} notes of {len({row['instrument'] for row in rows})} instruments"
    yield counts(rows, "family")
