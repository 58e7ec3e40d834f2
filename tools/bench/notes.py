"""Is a note the one that was asked for? Pitch, instrument, noise and seams of a run's notes beside real ones.

A run draws some of the real notes again, from their conditions without their caption, half of them such as
it was never trained on (data.hold_out of its recipe). Then, of the real notes and of the drawn ones,

  pitch        the shares within 20 and 50 cents of the asked pitch, by CREPE tiny, which nobody here
               wrote, and by mmdiff/metrics/pitch.py (see tools/bench/pitch.py);
  instrument   how often a classifier that was trained on other real notes names the asked instrument: a
               linear one on the mean, spread and course of log mel bands, the loudness taken away;
  reference    how often it names the instrument of another recording, which a note was asked to be like, when
               nothing else said the instrument (conditions of kind style); and that of an unlike one;
  harmonicity  the median harmonic-to-noise ratio in dB (Boersma, 1993);
  seam         how often the largest spectral flux around 0.5 s is within what 95 % of real notes have
               there: of notes that the run continues from the first 0.5 s of real ones, of real notes, and
               of two notes cut together.

Each is also given for trained and for held-out notes alone. Shares and medians have
their 95 % intervals (Wilson; bootstrap) over notes.

  python tools/bench/notes.py runs/notes --data notes.tar --out out --json

The data has the metadata columns instrument and midi, as tools/data/notes builds it.
"""

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torchaudio.functional import melscale_fbanks

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

import mmdiff
from mmdiff import counter
from mmdiff.data import soundfiles
from mmdiff.data.holdout import HoldOut
from mmdiff.data.scan import Entry, scan
from mmdiff.errors import UserError
from mmdiff.generation.pipeline import Ask, Generated, Pipeline
from mmdiff.generation.sheet import sheet
from mmdiff.metrics.intervals import Figure, bootstrap, wilson
from mmdiff.metrics.pitch import Pitch, harmonicity, pitch
from mmdiff.metrics.sounds import flux_at
from mmdiff.modalities.audio.picture import spectrogram
from mmdiff.naming import said
from mmdiff.recipe import REFERENCES
from tools.bench import command
from tools.bench.pitch import JUDGES, RATE, SUFFIXES, Wave, decoded, shares

BANDS, SIZE, HOP = 64, 1024, 256  # of the classifier's mel bands
COURSE = 4  # parts of a note whose mean bands the classifier sees
RIDGE = 1e-3  # of the classifier's weights
GIVEN = 0.5  # seconds that continuations start from
SHOWN = 12  # notes on the sheet


@dataclass(frozen=True, eq=False)
class Note:
    """A real note and what it is."""

    wave: Wave
    midi: float
    instrument: str
    held_out: bool
    columns: Mapping[str, Any]


def read(data: Path, hold_out: str | None) -> list[Note]:
    """All notes with an instrument and a pitch. Raises UserError if there are none."""

    def named(entry: Entry) -> bool:
        return math.isfinite(said(entry.columns.get("midi"))) and "instrument" in entry.columns

    entries = [entry for entry in scan(data, SUFFIXES).entries if named(entry)]
    if not entries:
        raise UserError(f"--data {data}: no WAV or FLAC there has the metadata columns instrument and midi")
    rows = [entry.columns for entry in entries]
    held = HoldOut.parse(hold_out).held(rows) if hold_out else [False] * len(rows)
    return [
        Note(decoded(entry), said(row["midi"]), str(row["instrument"]), out, row)
        for entry, row, out in zip(entries, rows, held, strict=True)
    ]


def chosen(notes: Sequence[Note], count: int, seed: int) -> list[Note]:
    """As many trained notes as held-out ones, or all of one kind where there is no other."""
    dice, found = random.Random(seed), []
    kinds = [[note for note in notes if note.held_out == held] for held in (False, True)]
    kinds = [kind for kind in kinds if kind]
    for kind in kinds:
        found += dice.sample(kind, min(count // len(kinds), len(kind)))
    return found


def kinds(notes: Sequence[Note]) -> dict[str, list[int]]:
    """The places of all notes, of trained and of held-out ones, those that there are."""
    every = {
        "all": list(range(len(notes))),
        "trained": [i for i, note in enumerate(notes) if not note.held_out],
        "held out": [i for i, note in enumerate(notes) if note.held_out],
    }
    return {kind: places for kind, places in every.items() if places}


def asks(pipeline: Pipeline, notes: Sequence[Note]) -> list[Ask]:
    """The conditions of notes, but for texts and for what another recording would give."""
    specs = {n: s for n, s in pipeline.recipe.conditions.items() if s.kind not in ("text", *REFERENCES)}
    return [
        ("", {name: str(note.columns[spec.column or name]) for name, spec in specs.items()}) for note in notes
    ]


def mono(generated: Generated) -> Wave:
    """The sound at `RATE`, one channel. Raises UserError for a run at another rate."""
    if generated.sample.sample_rate != RATE:
        raise UserError(f"the run draws at {generated.sample.sample_rate} Hz; expected {RATE}")
    return generated.sample.value.mean(0)


def features(waves: Sequence[Wave]) -> Float[Tensor, "n d"]:
    """What the classifier sees: of log mel bands, without the level, the mean, the spread and the course."""
    filters = melscale_fbanks(SIZE // 2 + 1, 40.0, RATE / 2, BANDS, RATE, norm="slaney", mel_scale="slaney")
    window, rows = torch.hann_window(SIZE), []
    for wave in waves:
        power = torch.stft(
            F.pad(wave, (0, max(0, SIZE - len(wave)))), SIZE, HOP, window=window, return_complex=True
        )
        bands = (filters.T @ power.abs().square() + 1e-10).log()
        bands = bands - bands.amax()  # the level says nothing of the instrument
        bands = bands.clamp_min(-16.0)
        parts = [part.mean(1) for part in bands.tensor_split(COURSE, 1)]
        rows.append(torch.cat([bands.mean(1), bands.std(1), *parts]))
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class Classifier:
    """Multinomial logistic regression on standardised features."""

    names: tuple[str, ...]
    mean: Tensor
    std: Tensor
    weight: Tensor

    @classmethod
    def fitted(cls, seen: Float[Tensor, "n d"], names: Sequence[str]) -> "Classifier":
        """The classifier of real notes with these instruments."""
        classes = tuple(sorted(set(names)))
        mean, std = seen.mean(0), seen.std(0).clamp_min(1e-3)
        x = F.pad((seen - mean) / std, (0, 1), value=1.0)
        target = torch.tensor([classes.index(name) for name in names])
        weight = torch.zeros(x.shape[1], len(classes), requires_grad=True)
        solver = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            solver.zero_grad()
            loss = F.cross_entropy(x @ weight, target) + RIDGE * weight[:-1].square().sum()
            loss.backward()
            return loss

        step: Callable[[Callable[[], Tensor]], Tensor] = solver.step
        step(closure)
        return cls(classes, mean, std, weight.detach())

    def right(self, waves: Sequence[Wave], names: Sequence[str]) -> Figure:
        """How often it names the instrument."""
        x = F.pad((features(waves) - self.mean) / self.std, (0, 1), value=1.0)
        found: Int64[Tensor, " n"] = (x @ self.weight).argmax(1)
        hits = sum(self.names[int(best)] == name for best, name in zip(found, names, strict=True))
        return Figure(*wilson(hits, len(names)))


def classifier(notes: Sequence[Note], without: Sequence[Note]) -> Classifier:
    """Trained on the real notes that are neither judged nor held out."""
    judged = set(map(id, without))
    used = [note for note in notes if id(note) not in judged and not note.held_out]
    return Classifier.fitted(features([note.wave for note in used]), [note.instrument for note in used])


def pitches(waves: Sequence[Wave], notes: Sequence[Note]) -> dict[str, dict[str, Figure]]:
    """The shares near the asked pitch, by each judge."""
    asked = torch.tensor([note.midi for note in notes])
    return {name: shares(judge(waves), asked)["figures"] for name, judge in JUDGES.items()}


def noise(waves: Sequence[Wave], seed: int) -> Figure:
    """The median harmonic-to-noise ratio in dB."""
    heard: list[Pitch] = [pitch(wave[None], RATE) for wave in waves]
    ratios = harmonicity(torch.cat([one.strength for one in heard]))
    return bootstrap(ratios, counter.generator(seed, "harmonicity"), torch.median)


def referenced(pipeline: Pipeline, every: Sequence[Note], asked: Sequence[Note], seed: int) -> list[Wave]:
    """Notes at the asked pitches whose instrument is told by another trained recording of it alone."""
    specs, dice = pipeline.recipe.conditions, random.Random(seed)
    told = {n for n, spec in specs.items() if spec.kind == "label" and (spec.column or n) == "instrument"}
    like = next(n for n, spec in specs.items() if spec.kind == "style")
    with tempfile.TemporaryDirectory() as folder:
        wishes: list[Ask] = []
        for note, (prompt, values) in zip(asked, asks(pipeline, asked), strict=True):
            others = [
                n for n in every if n.instrument == note.instrument and n is not note and not n.held_out
            ]
            path = Path(folder) / f"{len(wishes)}.wav"
            soundfiles.write(dice.choice(others).wave[None], RATE, path)
            rest = {name: value for name, value in values.items() if name not in told}
            wishes.append((prompt, {**rest, like: str(path)}))
        return [mono(made) for made in pipeline.each(wishes, seed=seed)]


def continued(pipeline: Pipeline, notes: Sequence[Note], seed: int) -> list[Wave]:
    """The notes as the run continues them from their first `GIVEN` seconds."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "note.wav"
        for note, (_, values) in zip(notes, asks(pipeline, notes), strict=True):
            soundfiles.write(note.wave[None], RATE, path)
            (made,) = pipeline.sample(given=f"{path}@0-{GIVEN}", seed=seed, **values)
            found.append(mono(made))
    return found


def spliced(notes: Sequence[Note]) -> list[Wave]:
    """Each note cut at `GIVEN` seconds and followed by the next one from there."""
    at = round(GIVEN * RATE)
    following = [*notes[1:], *notes[:1]]
    return [torch.cat([a.wave[:at], b.wave[at:]]) for a, b in zip(notes, following, strict=True)]


def seams(waves: Sequence[Wave], real: Sequence[Wave]) -> Figure:
    """How often the flux around the seam is within the 95 % quantile of that of real notes there."""
    length = min(map(len, [*waves, *real]))
    usual, found = (
        torch.cat([flux_at(wave[None, :length], GIVEN, RATE) for wave in kind]) for kind in (real, waves)
    )
    return Figure(*wilson(int((found <= usual.quantile(0.95)).sum()), len(waves)))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the whole measure; returns the report, whose figures have value, low, high and n."""
    pipeline = mmdiff.load(options.run)
    notes = read(options.data, pipeline.recipe.data.hold_out)
    asked = chosen(notes, options.count, options.seed)
    drawn = [mono(made) for made in pipeline.each(asks(pipeline, asked), seed=options.seed)]
    sets = {"real": [note.wave for note in asked], "drawn": drawn}
    judge, report = classifier(notes, asked), dict[str, Any](run=str(options.run), seed=options.seed)
    for kind, places in kinds(asked).items():
        part = [asked[i] for i in places]
        report[kind] = {}
        for what, waves in sets.items():
            heard = [waves[i] for i in places]
            report[kind][what] = {
                **{
                    f"{j}: {name}": f
                    for j, found in pitches(heard, part).items()
                    for name, f in found.items()
                },
                "instrument": judge.right(heard, [note.instrument for note in part]),
                "harmonicity, dB": noise(heard, options.seed),
            }
    if any(spec.kind == "style" for spec in pipeline.recipe.conditions.values()):
        alike, names = referenced(pipeline, notes, asked, options.seed), [note.instrument for note in asked]
        wanted = {"alike": names, "unlike": [*names[1:], *names[:1]]}
        report["reference"] = {
            name: {
                kind: judge.right([alike[i] for i in places], [those[i] for i in places])
                for kind, places in kinds(asked).items()
            }
            for name, those in wanted.items()
        }
    some = asked[:: max(1, len(asked) // options.seams)][: options.seams]
    real = [note.wave for note in notes]
    joined = {
        "real": [note.wave for note in some],
        "continued": continued(pipeline, some, options.seed),
        "spliced": spliced(some),
    }
    report["seam"] = {
        name: {kind: seams([waves[i] for i in places], real) for kind, places in kinds(some).items()}
        for name, waves in joined.items()
    }
    if options.out:
        report["sheet"] = str(picture(asked, drawn, options.out))
    return report


def picture(asked: Sequence[Note], drawn: Sequence[Wave], folder: Path) -> Path:
    """Writes the spectrograms of some notes, real above drawn, and the drawn notes themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    places = list(range(0, len(asked), max(1, len(asked) // SHOWN)))[:SHOWN]
    pictures, names = [], []
    for kind, waves in (("real", [note.wave for note in asked]), ("drawn", drawn)):
        for place in places:
            pictures.append(spectrogram(waves[place][None], 128, 192))
            names.append(f"{kind} {asked[place].instrument} {asked[place].midi:g}")
    for place in places:
        soundfiles.write(
            drawn[place][None], RATE, folder / f"{asked[place].instrument}-{asked[place].midi:g}.wav"
        )
    path = folder / "notes.png"
    sheet(pictures, names, columns=6).save(path)
    return path


def show(report: Mapping[str, Any]) -> None:
    """Prints the figures as a table."""
    for kind, rows in report.items():
        if not isinstance(rows, Mapping):
            continue
        print(kind)
        for what, figures in rows.items():
            for name, figure in (figures if isinstance(figures, Mapping) else {"": figures}).items():
                print(f"  {what:<10} {name:<28} {figure}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a training run")
    add("--data", type=Path, required=True, metavar="PATH", help="the real notes, a folder or a tar")
    add("--count", type=int, default=150, metavar="N", help="notes that are drawn (default: %(default)s)")
    add("--seams", type=int, default=40, metavar="N", help="notes that are continued (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="chooses notes and noise (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="writes a sheet of spectrograms and some notes there")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 2 the input was wrong."""
    return command.run("notes", parser(), arguments, measure, show)


if __name__ == "__main__":
    sys.exit(main())
