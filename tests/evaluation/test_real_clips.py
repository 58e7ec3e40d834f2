"""Clips made by code, and what is asked for of them."""

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
