"""Laws of the conditioners."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdiff.conditions import Conditions, Style, Text
from mmdiff.conditions.text import words
from mmdiff.errors import UserError
from mmdiff.nets import Condition
from mmdiff.recipe import ConditionSpec

SPECS = {"text": ConditionSpec(kind="text"), "style": ConditionSpec(kind="label", values=("flat", "round"))}


def conditions(specs: dict[str, ConditionSpec] = SPECS) -> Conditions:
    """Conditions in float64 whose zeros at birth are replaced, so that every part acts."""
    torch.manual_seed(0)
    made = Conditions(specs, width=64).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def encode(made: Conditions, *raw: dict[str, str | None]) -> Condition:
    ids = [made.ids(row) for row in raw]
    present = [made.present(row) for row in raw]
    stacked = {name: torch.stack([row[name] for row in ids]) for name in made.parts}
    return made(stacked, {name: torch.stack([row[name] for row in present]) for name in made.parts}, len(raw))


@given(text=st.text(max_size=300))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_text_gives_rows_of_the_table(text: str) -> None:
    ids = Text(width=64, tokens=5, rows=100).ids(text)
    assert ids.shape == (6, 24)
    assert ids.min() >= 0
    assert ids.max() < 100


@given(left=st.text(max_size=20), right=st.text(max_size=20))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_texts_differ_in_their_rows_exactly_when_their_words_differ(left: str, right: str) -> None:
    encoder = Text(width=64, tokens=64, rows=1 << 16)
    same = torch.equal(encoder.ids(left), encoder.ids(right))
    assert same == (words(left) == words(right))


def test_case_spaces_and_commas_do_not_count_but_order_does() -> None:
    encoder = Text(width=64)
    assert torch.equal(encoder.ids("Red  Heart"), encoder.ids("red heart"))
    assert not torch.equal(encoder.ids("red heart"), encoder.ids("heart red"))


def test_similar_words_share_rows() -> None:
    encoder = Text(width=64)
    farmer, farmers, rocket = (
        set(encoder.ids(text)[1].tolist()) - {0} for text in ("farmer", "farmers", "rocket")
    )
    assert len(farmer & farmers) >= 5
    assert len(farmer & rocket) <= 1


def test_a_sample_does_not_see_its_batch_mates() -> None:
    made = conditions()
    alone = encode(made, {"text": "a cat", "style": "flat"})
    pair = encode(
        made, {"text": "a cat", "style": "flat"}, {"text": "the quick brown fox jumps", "style": None}
    )
    for mine, both in zip(alone[:3], pair[:3], strict=True):
        assert_close(both[:1], mine)


def test_a_missing_condition_is_the_learned_null_whatever_its_ids() -> None:
    made = conditions()
    ids = {name: value[None] for name, value in made.ids({"text": "a cat", "style": "round"}).items()}
    absent = dict.fromkeys(made.parts, torch.tensor([False]))
    withheld, null = made(ids, absent, 1), encode(made, {})
    for mine, other in zip(withheld[:3], null[:3], strict=True):
        assert torch.equal(mine, other)
    assert int(null.mask.sum()) == 1


def test_each_condition_changes_the_result() -> None:
    made = conditions()
    base, text, style, null = encode(
        made,
        {"text": "a cat", "style": "flat"},
        {"text": "a dog", "style": "flat"},
        {"text": "a cat", "style": "round"},
        {},
    ).vector
    for other in (text, style, null):
        assert (base - other).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient_even_when_nothing_is_present() -> None:
    made = conditions()
    out = encode(made, {})
    (out.vector.sum() + out.tokens.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_a_wrong_label_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'style' has no value 'rund'; did you mean 'round'\?"):
        conditions().ids({"style": "rund"})


def test_without_conditions_there_is_still_a_condition() -> None:
    out = encode(Conditions({}, width=8), {}, {})
    assert out.vector.shape == (2, 8)
    assert out.tokens.shape == (2, 0, 8)


def test_what_a_reference_lends_weighs_as_much_as_a_label() -> None:
    """They are added, so that the shorter one is hardly heard."""
    torch.manual_seed(0)
    specs = {"like": ConditionSpec(kind="style"), "style": ConditionSpec(kind="label", values=("a", "b"))}
    made = Conditions(specs, width=256, styles=60)
    measured = 0.3 * torch.randn(8, 60)
    present = torch.ones(8, dtype=torch.bool)
    lent = made.parts["like"](measured, present).vector.norm(dim=1).mean()
    named = made.parts["style"](torch.tensor([0, 1]), present[:2]).vector.norm(dim=1).mean()
    assert float(lent.detach() / named.detach()) == pytest.approx(1, abs=0.1)


def test_references_on_either_side_of_the_usual_are_encoded_as_opposites() -> None:
    """So they cannot all be encoded alike, whatever the network learns."""
    torch.manual_seed(0)
    part = Style("like", 60)
    part.mean.copy_(torch.rand(60) + 1)
    part.std.copy_(torch.rand(60) + 0.1)
    apart, present = torch.randn(8, 60), torch.ones(8, dtype=torch.bool)
    one, other = (part(part.mean + sign * apart, present).vector for sign in (1, -1))
    torch.testing.assert_close(one, -other)
