"""``mmdiff demo``: a first result with no data, no download and no account."""

import argparse

from mmdiff.commands.verb import Verb, folder

DEMOS = ("image", "audio", "video")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=[*DEMOS, "all"],
        default="all",
        metavar="DEMO",
        help="image, audio, video or all (default)",
    )
    parser.add_argument("--out", type=folder, default="demo", metavar="DIR", help="where to (default: demo)")


def run(args: argparse.Namespace) -> int:
    from mmdiff.training.demo import all_demos, demo

    out = args.out / args.what
    print(all_demos(args.out) if args.what == "all" else out / demo(args.what, out).link)
    return 0


VERB = Verb(
    summary="train small models here and now, and show what they draw",
    examples="""\
examples:
  mmdiff demo                       everything; demo/index.html shows the three side by side
  mmdiff demo image                 into demo/image: a grid of pictures and a page
  mmdiff demo audio                 into demo/audio: notes to hear too
  mmdiff demo video --out /tmp/x    into /tmp/x/video: clips to watch too

Each takes minutes on two cores and makes its own training data: coloured shapes with captions, notes of a
known pitch and timbre, and shapes that move by a known law, which a net learns that has learned to draw the
shapes. Open the index.html whose path it prints: of all together there is one more that shows the
samples and the shares of each and leads to theirs. Interrupted, the same command goes on.
""",
    options=options,
    work=run,
)
