"""``mmdiff demo``: a first result with no data, no download and no account."""

import argparse
from pathlib import Path

from mmdiff.commands.verb import Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=["image", "all"],
        default="all",
        metavar="DEMO",
        help="image or all (default)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="where to (default: demo)"
    )


def run(args: argparse.Namespace) -> int:
    from mmdiff.training.demo import demo_image

    print(demo_image(args.out))
    return 0


VERB = Verb(
    summary="train a small model here and now, and show what it draws",
    examples="""\
examples:
  mmdiff demo                       everything, into the folder demo/
  mmdiff demo image --out /tmp/demo

It takes about four minutes on two cores and draws its own training pictures, coloured shapes with captions.
Open the index.html that it leaves. Interrupted, the same command goes on.
""",
    options=options,
    work=run,
)
