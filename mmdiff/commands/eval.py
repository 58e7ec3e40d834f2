"""``mmdiff eval``: how near a run comes to real samples."""

import argparse
import json
from pathlib import Path

from mmdiff.commands.progress import shown
from mmdiff.commands.verb import Verb, count, folder, guided, pulls, seed


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="the folder of a training run")
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="folder or tar of real samples; not needed by a run on what code makes, as image/shapes",
    )
    add("-n", type=count, metavar="N", help="samples to draw (default: 100, at most half of the real ones)")
    add("--steps", type=count, metavar="N", help="steps of the sampler *")
    guided(parser)
    add(
        "--seed",
        type=seed,
        default=0,
        metavar="S",
        help="chooses the real samples and the noise (default: 0)",
    )
    add(
        "--pitch",
        metavar="COLUMN",
        help="has the pitch as a MIDI number (default: the run's number condition on midi or pitch)",
    )
    add("--embeddings", action="store_true", help="also what a network hears; needs the package aisfx")
    add("--json", action="store_true", help="ends with the whole report as one line of JSON")
    add("--out", type=folder, metavar="DIR", help="also write report.json and report.md there")


def run(args: argparse.Namespace) -> int:
    from mmdiff.evaluation import evaluate

    guidance, guidance_by = pulls(args.guidance)
    with shown("call") as progress:
        report = evaluate(
            args.run,
            args.data,
            args.n,
            steps=args.steps,
            guidance=guidance,
            guidance_by=guidance_by,
            seed=args.seed,
            pitch=args.pitch,
            embeddings=args.embeddings,
            progress=progress,
        )
    print(report.table())
    if args.out:
        print(*report.write(args.out), sep="\n")
    if args.json:
        print(json.dumps(report.as_dict()))
    return 0


VERB = Verb(
    summary="measure how near a run comes to real samples, beside floor and ceilings",
    examples="""\
* default: what the run's recipe says

examples:
  mmdiff eval runs/notes --data notes.tar
  mmdiff eval runs/emoji --data emoji.tar -n 500 --guidance 4 --out report
  mmdiff eval demo/audio/run --json                  notes made by code, from a seed that training never saw

The run draws samples with the prompts, labels and numbers of real ones. Beside each figure stands its floor,
what other real samples get in their place, and its ceilings: what silence or a flat picture, noise, and the
samples of other conditions get. Held-out data judge a run more sternly than what it was trained on.
""",
    options=options,
    work=run,
)
