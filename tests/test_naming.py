import functools
from dataclasses import dataclass

import pytest

from mmdiff.errors import UserError
from mmdiff.naming import choose, nearest


@dataclass(frozen=True)
class Cosine:
    s: float = 0.008


def karras(schedule, steps, rho=7.0, *, ends=(0.002, 80.0)):
    return schedule, steps, rho, ends


def word(kind="a"):
    return kind


TABLE = {"karras": karras, "word": word, "cosine": Cosine, "min-snr": karras}


def test_a_name_alone_is_the_entry_itself():
    assert choose(TABLE, " karras ", "grid") is karras
    assert choose(TABLE, "min-snr", "weight") is karras
    assert choose(TABLE, "cosine()", "schedule") is Cosine


def test_options_are_bound_and_the_rest_is_left_to_the_caller():
    chosen = choose(TABLE, "karras(rho=5, ends=(1, -2e1))", "grid")
    assert isinstance(chosen, functools.partial)
    assert chosen("schedule", 4) == ("schedule", 4, 5, (1, -20.0))
    assert choose(TABLE, "cosine(s=0.1)", "schedule")() == Cosine(0.1)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("karas", "unknown grid 'karas'; did you mean 'karras'?"),
        ("zzz", "unknown grid 'zzz'; valid: karras, word, cosine, min-snr"),
        ("karras(roh=7)", "grid 'karras' has no option 'roh'; did you mean 'rho'?"),
        ("karras(steps=7)", "has no option 'steps'"),
        ("karras(rho='a')", "option 'rho' of grid 'karras': got 'a', expected a number such as 7.0"),
        ("word(kind=1)", "option 'kind' of grid 'word': got 1, expected a word such as 'a'"),
        ("karras(7)", "options are written key=value"),
        ("karras(**{'rho': 7})", "options are written key=value"),
        ("karras(rho=__import__('os'))", "options are written key=value"),
        ("karras(rho=)", "options are written key=value"),
        ("karras(rho=1", "is not of the form"),
        ("", "is not of the form"),
    ],
)
def test_errors_name_what_came_and_the_nearest(spec, says):
    with pytest.raises(UserError) as caught:
        choose(TABLE, spec, "grid")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nearest_ignores_case_and_gives_up_on_strangers():
    assert nearest("Karas", TABLE) == "karras"
    assert nearest("qqqq", TABLE) is None
