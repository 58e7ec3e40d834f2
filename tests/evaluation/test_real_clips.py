"""Clips made by code, and what is asked for of them."""

from dataclasses import replace
from fractions import Fraction

import PIL.Image

from mmdiff.data import Bounce, clipfiles
from mmdiff.evaluation.real import choose, source_of
from mmdiff.generation.model import build
from mmdiff.metrics.trajectory import lawful
from mmdiff.recipe import ConditionSpec, Data, Net, Recipe, Training

RECIPE = Recipe(
    modality="video",
    data=Data(source="bounce", size="16x12", frames=4, fps="8", length=16),
    net=Net(size="custom", patch=2, width=16, mults=(1,), blocks=1, attention=()),
    conditions={"text": ConditionSpec(kind="text")},
    training=Training(steps=1, precision="fp32"),
)


def test_code_makes_clips_that_training_did_not_see_with_the_law_that_they_keep_to():
    model = build(RECIPE)
    source, called = source_of(RECIPE, model.modality, None)
    assert called == "bounce made by code with seed 1"
    real = choose(source, called, RECIPE, model, 5, 0)
    assert real.twins.shape == real.others.shape == (5, 3, 4, 12, 16)
    assert all(map(lawful, real.columns))
    assert [raw["text"] for raw in real.asked] == [row["text"] for row in real.columns]


def test_pictures_among_clips_are_not_what_clips_are_compared_with(tmp_path):
    for i in range(8):
        clipfiles.write(
            Bounce(0, 8, (16, 12), 4, Fraction(8))[i][0].permute(1, 2, 3, 0),
            Fraction(8),
            tmp_path / f"{i}.gif",
        )
        (tmp_path / f"{i}.txt").write_text(f"clip {i}")
    for i in range(3):
        PIL.Image.new("RGB", (16, 12)).save(tmp_path / f"still {i}.png")
        (tmp_path / f"still {i}.txt").write_text("nothing")
    recipe = replace(RECIPE, data=replace(RECIPE.data, source="folder"))
    model = build(recipe)
    source = source_of(recipe, model.modality, tmp_path)
    real, *others = (choose(*source, recipe, model, 4, seed) for seed in range(5))
    assert all(raw["text"] != "nothing" for raw in real.asked)
    named = {name for each in (real, *others) for name in each.rejected}
    assert named == {f"still {i}.png: a picture, in which nothing moves" for i in range(3)}
    assert (real.others.diff(dim=2) != 0).flatten(1).any(1).all()
