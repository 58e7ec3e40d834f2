import json
import math
from dataclasses import replace

import pytest
import torch

from mmdiff.data import soundfiles, tones
from mmdiff.errors import UserError
from mmdiff.evaluation.alike import Alike
from mmdiff.evaluation.evaluate import pitch_column
from mmdiff.evaluation.real import choose, source_of
from mmdiff.generation.model import build
from mmdiff.recipe import ConditionSpec, Data, Diffusion, Net, Recipe, Training

RECIPE = Recipe(
    modality="audio",
    data=Data(sample_rate=2000, seconds=0.25, representation="mdct(bins=16)", length=60, source="tones"),
    net=Net(size="custom", patch=1, width=16, mults=(1,), blocks=1, attention=()),
    diffusion=Diffusion(sigma_data=1.0),
    conditions={
        "timbre": ConditionSpec(kind="label", values=tuple(tones.TIMBRES)),
        "pitch": ConditionSpec(kind="number", low=40, high=90),
    },
    training=Training(steps=1, precision="fp32"),
)


@pytest.fixture(scope="module")
def model():
    return build(RECIPE)


@pytest.fixture
def folder(tmp_path):
    """Ten notes and a broken one."""
    rows = []
    for index in range(10):
        wave, known = tones.tone(0, index, 2000, 0.25)
        soundfiles.write(wave, 2000, tmp_path / f"{index}.wav")
        rows.append({"file_name": f"{index}.wav", **known})
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    rows.append({**rows[0], "file_name": "bad.wav"})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def chosen(model, data=None, n=None, seed=0):
    source, called = source_of(RECIPE, model.modality, data)
    return choose(source, called, RECIPE, model, n, seed)


def test_what_is_measured_of_a_file_is_asked_for(folder):
    conditions = {"rate": ConditionSpec(kind="number", column="sample_rate", low=0, high=9000)}
    recipe = replace(RECIPE, conditions=conditions)
    model = build(recipe)
    real = choose(*source_of(recipe, model.modality, folder), recipe, model, 4, 0)
    assert real.asked == [{"rate": "2000"}] * 4


def test_twins_and_others_are_different_samples_and_the_seed_decides(model):
    one, same, other = chosen(model, n=20), chosen(model, n=20), chosen(model, n=20, seed=1)
    assert one.twins.shape == one.others.shape == (20, 1, 500)
    assert torch.equal(one.twins, same.twins)
    assert one.asked == same.asked
    assert not torch.equal(one.twins, other.twins)
    every = torch.cat([one.twins, one.others]).flatten(1)
    assert len(every.unique(dim=0)) == 40


def test_twins_ask_for_what_they_are(model):
    real = chosen(model, n=20)
    for raw, row in zip(real.asked, real.columns, strict=True):
        assert raw == {"timbre": row["timbre"], "pitch": str(row["pitch"])}


def test_code_makes_notes_that_training_did_not_see(model):
    _, called = source_of(RECIPE, model.modality, None)
    assert called == "tones made by code with seed 1"
    assert RECIPE.training.seed == 0


def test_others_share_more_with_their_twin_than_chance(model):
    source, _ = source_of(RECIPE, model.modality, None)
    real = chosen(model, n=10)
    rows = {source[i][0].sum().item(): source.columns(i) for i in range(60)}
    near = [
        row["timbre"] == rows[other.sum().item()]["timbre"]
        for row, other in zip(real.columns, real.others, strict=True)
    ]
    assert sum(near) >= 8


def test_rare_things_in_common_count_most_and_numbers_by_how_near_they_are():
    rows = [{"text": f"thing {i}", "style": "ab"[i % 2], "pitch": str(i)} for i in range(20)]
    alike = Alike(rows, ["pitch"])
    assert alike.order({"text": "thing 7", "style": "a"})[0] == 7
    assert alike.order({"pitch": "11.8"})[:3] == [12, 11, 13]
    assert set(alike.order({"style": "b"})[:10]) == set(range(1, 20, 2))
    assert alike.shared({"text": "thing 7"}).tolist() == pytest.approx(
        [math.log(20) * (i == 7) for i in range(20)]
    )
    assert alike.shared({}).tolist() == alike.shared({"mood": "sad"}).tolist() == [0.0] * 20
    assert alike.order({"pitch": "100"})[0] == 19
    assert Alike([{}, *rows], ["pitch"]).order({"pitch": "0"})[-1] == 0


def test_a_broken_file_is_named_and_passed_over(model, folder):
    for seed in range(6):
        real = chosen(model, folder, n=5, seed=seed)
        assert len(real.twins) == len(real.others) == 5
        assert len(real.rejected) <= 1
        assert all("bad.wav" in line for line in real.rejected)
    (folder / "0.wav").write_bytes(b"no sound")
    assert len(chosen(model, folder).twins) == 4  # of nine


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (3, "-n 3: expected 4 or more"),
        (6, "-n 6: expected at most 5, half of the 11 sounds of"),
    ],
)
def test_impossible_counts_are_one_line(model, folder, n, says):
    with pytest.raises(UserError, match=says):
        chosen(model, folder, n=n)


def test_unusable_data_is_one_line(model, folder, tmp_path):
    for index in range(4):
        (folder / f"{index}.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"not enough sounds can be used for 5 twins.*\.wav: "):
        chosen(model, folder, n=5)
    rows = [{"file_name": f"{i}.wav", "text": "", "timbre": "drum", "pitch": 60} for i in range(4, 10)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 1))
    with pytest.raises(UserError, match="holds 6 sounds, expected 8 or more"):
        chosen(model, folder)


def test_a_condition_that_the_run_does_not_know_names_the_file(model, folder):
    rows = [{"file_name": f"{i}.wav", "text": "", "timbre": "drum", "pitch": 60} for i in range(10)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"^\d\.wav: .*'drum'"):
        chosen(model, folder)


def test_the_pitch_column_is_that_of_a_condition_or_the_one_named():
    rows = [{"midi": 60, "loud": 3, "name": "a"}, {"midi": 61}]
    assert pitch_column(RECIPE, [{"pitch": 60}], None) == "pitch"
    assert pitch_column(RECIPE, rows, None) is None
    assert pitch_column(RECIPE, rows, "midi") == "midi"
    assert pitch_column(RECIPE, [{"midi": "60"}, {"midi": ""}], "midi") == "midi"  # as CSV has it
    with pytest.raises(UserError, match=r"--pitch mid: .*did you mean 'midi'\? valid: loud, midi"):
        pitch_column(RECIPE, rows, "mid")
