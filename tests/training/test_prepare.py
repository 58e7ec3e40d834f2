"""What training starts from: good files, named rejections, label values, prompts."""

import json
import shutil

import pytest

from mmdiff import run as runs
from mmdiff.errors import UserError
from mmdiff.training import prepare as preparing
from mmdiff.training.prepare import DataChanged, prepare, prompts


@pytest.fixture
def folder(pictures, tmp_path):
    """A copy of the pictures that may be broken."""
    copy = tmp_path / "copy"
    shutil.copytree(pictures, copy)
    return copy


def test_label_values_are_filled_in_sorted(recipe, tmp_path):
    prepared = prepare(recipe(), tmp_path)
    assert prepared.recipe.conditions["style"].values == ("deep", "flat")
    assert len(prepared.source) == 11


def test_given_label_values_stay(recipe, tmp_path):
    prepared = prepare(recipe("conditions.style.values=[flat, deep, other]"), tmp_path)
    assert prepared.recipe.conditions["style"].values == ("flat", "deep", "other")


def test_a_label_without_values_names_the_columns(recipe, tmp_path):
    with pytest.raises(
        UserError, match=r"conditions.style: no sample has a value in column 'colour'; columns: .*text"
    ):
        prepare(recipe("conditions.style.column=colour"), tmp_path)


def test_a_value_that_the_recipe_does_not_have_is_named_with_its_sample(recipe, tmp_path):
    with pytest.raises(UserError, match=r"1\.png: condition 'style' has no value 'deep'.*valid: flat"):
        prepare(recipe("conditions.style.values=[flat]"), tmp_path)
    number = ("conditions.style.kind=number", "conditions.style.low=0", "conditions.style.high=1")
    with pytest.raises(UserError, match=r"0\.png: condition 'style': got 'flat', expected a number from 0"):
        prepare(recipe(*number), tmp_path)


def test_what_grids_ask_for_must_be_in_the_data(recipe, tmp_path):
    with pytest.raises(UserError, match=r"sampling.conditions: .* 'flt'; did you mean 'flat'"):
        prepare(recipe("sampling.conditions.style=flt"), tmp_path)


def test_broken_files_are_named_and_remembered(recipe, folder, tmp_path):
    (folder / "3.png").write_bytes(b"not a picture")
    asked = recipe(f"data.path={folder}", "data.max_bad=0.2")
    prepared = prepare(asked, tmp_path)
    assert len(prepared.source) == 10
    assert [row["file_name"] for row in prepared.record["rejected"]] == ["3.png"]
    assert any("3.png" in line for line in prepared.summary)
    with pytest.raises(UserError, match=r"3\.png"):
        prepare(recipe(f"data.path={folder}", "data.max_bad=0.05"), tmp_path)


def test_the_second_session_decodes_nothing(recipe, folder, tmp_path, monkeypatch):
    (folder / "3.png").write_bytes(b"not a picture")
    asked = recipe(f"data.path={folder}", "data.max_bad=0.2")
    first = prepare(asked, tmp_path / "run")
    first.remember(runs.create(tmp_path / "run", asked))
    monkeypatch.setattr(preparing, "audit", None)
    second = prepare(asked, tmp_path / "run")
    assert [second.source.name(i) for i in range(10)] == [first.source.name(i) for i in range(10)]


def test_what_the_audit_says_of_a_file_can_be_a_condition(recipe, folder, tmp_path, monkeypatch):
    number = ("conditions.style.kind=number", "conditions.style.low=0", "conditions.style.high=9")
    asked = recipe(*number, "conditions.style.column=width", f"data.path={folder}")
    first = prepare(asked, tmp_path / "run")
    assert [first.source.columns(i)["width"] for i in range(11)] == [8] * 11
    first.remember(runs.create(tmp_path / "run", asked))
    monkeypatch.setattr(preparing, "audit", None)
    again = prepare(asked, tmp_path / "run")
    assert [again.source.columns(i) for i in range(11)] == [first.source.columns(i) for i in range(11)]
    with pytest.raises(UserError, match=r"0\.png: condition 'style': got '8', expected a number from 0 to 7"):
        prepare(asked.override(["conditions.style.high=7"]), tmp_path / "run")


def test_changed_data_is_said(recipe, folder, tmp_path):
    asked = recipe(f"data.path={folder}")
    prepare(asked, tmp_path / "run").remember(runs.create(tmp_path / "run", asked))
    rows = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.warns(DataChanged, match="10 samples, 11 when the run began"):
        prepare(asked, tmp_path / "run")


def test_no_path_is_a_clear_error(recipe, tmp_path):
    with pytest.raises(UserError, match="--data"):
        prepare(recipe("data.path=null"), tmp_path)


def test_shapes_need_no_files(recipe, tmp_path):
    asked = recipe("data.source=shapes", "data.path=null", "data.length=50", "conditions.style.column=colour")
    prepared = prepare(asked, tmp_path)
    assert len(prepared.source) == 50
    assert "red" in prepared.recipe.conditions["style"].values
    json.dumps(prepared.record)


def test_prompts_are_those_of_the_recipe_or_spread_over_the_data(recipe, tmp_path):
    with_text = recipe("conditions.text.kind=text")
    source = prepare(with_text, tmp_path).source
    spread = prompts(with_text, source)
    assert len(spread) == 8
    assert len({text for text, _ in spread}) == 8
    assert all(labels["style"] in {"flat", "deep"} for _, labels in spread)
    assert {text for text, _ in prompts(recipe(), source)} == {""}  # nothing there takes a prompt
    fixed = prompts(recipe("sampling.prompts=[a, b]", "sampling.conditions.style=flat"), source)
    assert fixed == [("a", {"style": "flat"}), ("b", {"style": "flat"})]
    assert all(
        labels == {"style": "deep"} for _, labels in prompts(recipe("sampling.conditions.style=deep"), source)
    )


def test_held_out_samples_are_counted_and_never_trained(recipe, tmp_path):
    prepared = prepare(recipe("data.hold_out=text/4"), tmp_path)
    assert len(prepared.source) == 9
    assert "2 held out (text/4) and never trained on" in prepared.summary[-1]
    texts = {prepared.source.columns(i)["text"] for i in range(9)}
    assert len(texts) == 9
    assert not texts & {"thing 2", "thing 6"}
