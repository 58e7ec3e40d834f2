"""The verbs of the command line, one file each. Nothing heavy is imported until a verb runs."""

from mmdiff.commands import data, demo, doctor, eval, inspect, recipe, regenerate, sample, train
from mmdiff.commands.verb import Verb

__all__ = ["VERBS", "Verb"]

VERBS: dict[str, Verb] = {
    "demo": demo.VERB,
    "train": train.VERB,
    "sample": sample.VERB,
    "eval": eval.VERB,
    "data": data.VERB,
    "inspect": inspect.VERB,
    "regenerate": regenerate.VERB,
    "recipe": recipe.VERB,
    "doctor": doctor.VERB,
}
