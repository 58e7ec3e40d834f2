"""Clips longer than those of training: is memory flat, and can one see where a window ends?

  python tools/bench/long.py runs/bounce
  python tools/bench/long.py runs/bounce --seconds 60 -n 4 --json | tail -1

`mmdiff sample` draws clips of the run's own length and longer ones, each in a fresh process, whose peak of
resident memory Linux tells. A seam is the step from the last frame of a window to the first one that the next
window makes. How much changes there is compared with the other steps of the same clip, 1 being no difference:

  change       the mean difference of frames
  unexplained  what is left of it when motion is taken out (mmdiff/metrics/motion.py)

The same is measured halfway between the seams ("elsewhere", what chance gives) and of clips whose windows
come from different clips in turn ("strangers", what seams are without an overlap). Intervals are bootstraps
over clips.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

from mmdiff import counter
from mmdiff.errors import UserError
from mmdiff.generation.model import overlap_of
from mmdiff.generation.windows import starts
from mmdiff.metrics import motion
from mmdiff.metrics.intervals import Figure, bootstrap
from mmdiff.modalities import Video, modality_of
from mmdiff.recipe import Recipe
from mmdiff.run import Run
from tools.bench import command

# The peak of its own memory: that which a parent is told counts what the parent had when it forked
CHILD = """
import sys
from pathlib import Path
from mmdiff import cli
code = cli.main(sys.argv[1:])
print(Path("/proc/self/status").read_text())
sys.exit(code)
"""
MEASURES = {"change": motion.changes, "unexplained": lambda c: motion.unexplained(c, motion.flows(c))}


@dataclass(frozen=True)
class Drawn:
    """What a process drew: clips `n f h w 3` of 8 bits, its peak of memory in bytes, and its seconds."""

    clips: Tensor
    peak: int
    seconds: float


def draw(run: Path, modality: Video, words: Sequence[str]) -> Drawn:
    """Draws in a process of its own. Raises UserError with its last line if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, "sample", str(run), "--out", folder, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise UserError(done.stderr.strip().splitlines()[-1])
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", done.stdout, re.MULTILINE)
        if peak is None:
            raise UserError("this system does not tell a process the peak of its memory; expected Linux")
        paths = [Path(line) for line in done.stdout.splitlines() if line.startswith(folder)]
        clips = torch.stack([modality.read(path.read_bytes(), path.name).value for path in paths])
    return Drawn(clips, 1024 * int(peak[1]), seconds)


def seams(length: int, window: int, overlap: int) -> list[int]:
    """The first frame that each window but the first makes."""
    return [start + overlap for start in starts(length, window, overlap)[1:]]


def strangers(clips: Tensor, at: Sequence[int]) -> Tensor:
    """The clips, each going on as the one after it at every seam."""
    edges = [0, *at, clips.shape[1]]
    parts = [clips[:, a:b].roll(-i, 0) for i, (a, b) in enumerate(pairwise(edges))]
    return torch.cat(parts, 1)


def ratios(clips: Tensor, at: Sequence[int], seed: int) -> dict[str, Figure]:
    """By measure: the mean change at these frames over that at the others, of all clips together."""
    found = {}
    for place, (name, measure) in enumerate(MEASURES.items()):
        here, others, _ = motion.seam(measure(clips), at)
        dice = counter.generator(seed, "resamples", place)
        found[name] = bootstrap(torch.stack([here, others], 1), dice, over)
    return found


def over(rows: Tensor) -> Tensor:
    """The mean of the first column over that of the second."""
    here, others = rows.mean(0).clamp_min(1e-6)
    return here / others


def report(short: Drawn, long: Drawn, window: int, overlap: int, seed: int) -> dict[str, Any]:
    """Memory and seams."""
    at = seams(long.clips.shape[1], window, overlap)
    between = [frame - (window - overlap) // 2 for frame in at]
    found = {"seam": (long.clips, at), "elsewhere": (long.clips, between)}
    if len(long.clips) > 1:
        found["strangers"] = strangers(long.clips, at), at
    return {
        "frames": {"short": short.clips.shape[1], "long": long.clips.shape[1]},
        "clips": len(long.clips),
        "seams": len(at),
        "overlap": overlap,
        "peak_bytes": {"short": short.peak, "long": long.peak},
        "peak_ratio": long.peak / short.peak,
        "seconds": {"short": short.seconds, "long": long.seconds},
        "ratios": {name: ratios(clips, places, seed) for name, (clips, places) in found.items()},
    }


def show(found: Mapping[str, Any]) -> None:
    """Prints the table."""
    for name, frames in found["frames"].items():
        peak, seconds = found["peak_bytes"][name] / 2**20, found["seconds"][name]
        print(f"{name:<6}{found['clips']:>4} clips of {frames:>6} frames{peak:>10.1f} MiB{seconds:>10.1f} s")
    print(f"peak of memory, long over short: {found['peak_ratio']:.3f}\n")
    print(f"{found['seams']} seams a clip, overlap {found['overlap']}; of {found['clips']} clips the mean")
    for name, figures in found["ratios"].items():
        for measure, figure in figures.items():
            print(f"{name:<12}{measure:<14}{figure.value:>8.3f}  [{figure.low:.3f}, {figure.high:.3f}]")


def bench(run: Path, seconds: float, n: int, overlap: int | None, seed: int, words: Sequence[str]) -> Any:
    """Draws and measures. Raises UserError for what is no run on clips, and for clips that need no window."""
    recipe: Recipe = Run(run).recipe()
    modality = modality_of(recipe)
    if not isinstance(modality, Video):
        raise UserError(f"{run}: makes {modality.noun}, expected a run on clips")
    whole = modality.sized(modality.size_with({"seconds": seconds}))
    shared = overlap_of(recipe.sampling.overlap if overlap is None else overlap, modality)
    if whole.frames <= modality.frames + 1:
        raise UserError(
            f"--seconds {seconds:g}: {whole.frames} frames, expected more than {modality.frames + 1}"
        )
    words = ["-n", str(n), "--seed", str(seed), "--overlap", str(shared), *words]
    short = draw(run, modality, words)
    long = draw(run, whole, [*words, "--frames", str(whole.frames)])
    return {"run": str(run), **report(short, long, modality.frames, shared, seed)}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 2 the input was wrong."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a training run on clips")
    add("--seconds", type=float, default=10.0, metavar="S", help="of the long clips (default: %(default)s)")
    add("-n", type=int, default=16, metavar="N", help="clips of either length (default: %(default)s)")
    add("--overlap", type=int, metavar="F", help="frames (default: what the run's recipe says)")
    add("--prompt", metavar="TEXT", help="what to draw (default: anything)")
    add("--steps", metavar="N", help="of the sampler (default: what the run's recipe says)")
    add("--seed", type=int, default=0, metavar="S", help="of the clips (default: %(default)s)")

    def measure(o: argparse.Namespace) -> dict[str, Any]:
        asked = (("--prompt", o.prompt), ("--steps", o.steps))
        words = [word for name, value in asked if value is not None for word in (name, value)]
        return bench(o.run, o.seconds, o.n, o.overlap, o.seed, words)

    return command.run("long", parser, arguments, measure, show)


if __name__ == "__main__":
    sys.exit(main())
