"""``mmdiff train``: a recipe becomes a run; the same command again resumes it."""

import argparse
from pathlib import Path

from mmdiff.commands.verb import Verb, count, folder


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file or a built-in recipe such as image/folder"
    )
    parser.add_argument("--data", type=Path, metavar="PATH", help="folder or tar to learn from")
    parser.add_argument("--run", type=folder, metavar="DIR", help="the run's folder (default: runs/NAME)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe; repeatable",
    )
    parser.add_argument(
        "--devices", type=count, metavar="N", help="processes or GPUs of this machine to train on"
    )


def run(args: argparse.Namespace) -> int:
    from mmdiff import recipe as recipes
    from mmdiff.training import train

    recipe = recipes.load(args.recipe).override(args.set)
    print(train(recipe, data=args.data, run=args.run, devices=args.devices))
    return 0


VERB = Verb(
    summary="train a model; the same command again resumes it, bit for bit",
    examples="""\
examples:
  mmdiff train image/shapes
  mmdiff train image/folder --data holiday-pictures --run runs/holiday
  mmdiff train my.yaml --set training.steps=20000 --set training.learning_rate=5e-4

data: a folder of files with metadata.jsonl or metadata.csv (file_name, text, any columns), or with a .txt
beside each file, or with a sub-folder for each class; or a tar of any of these. `mmdiff data audit PATH`
checks it first. Ctrl-C or SIGTERM saves and stops. Nothing leaves this machine unless a wandb key is present.
""",
    options=options,
    work=run,
)
