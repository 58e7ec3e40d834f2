"""``mmdiff recipe``: list, show and validate recipes."""

import argparse

from mmdiff import recipe as recipes
from mmdiff.commands.verb import Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file or a built-in recipe such as image/emoji"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe; repeatable",
    )


def run_list(args: argparse.Namespace) -> int:
    for name in recipes.builtin_names():
        print(f"{name:<16} {recipes.describe(name).partition(chr(10))[0]}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    for line in recipes.describe(args.recipe).splitlines():
        print(f"# {line}".rstrip())
    print(recipes.dump(recipes.load(args.recipe).override(args.set)), end="")
    return 0


def run_validate(args: argparse.Namespace) -> int:
    from mmdiff.generation.model import check

    recipe = recipes.load(args.recipe).override(args.set)
    check(recipe)
    print(f"{args.recipe}: valid")
    return 0


VERB = Verb(
    summary="list, show and validate recipes",
    verbs={
        "list": Verb(summary="the recipes that come with the package", work=run_list),
        "show": Verb(
            summary="a recipe's documentation and every key with its value, defaults included",
            examples="example:\n  mmdiff recipe show image/emoji --set net.size=base\n",
            options=options,
            work=run_show,
        ),
        "validate": Verb(
            summary="check a recipe without training",
            examples="example:\n  mmdiff recipe validate my.yaml\n",
            options=options,
            work=run_validate,
        ),
    },
)
