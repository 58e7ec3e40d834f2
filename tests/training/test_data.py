"""From positions to batches: order, shares of several processes, dropout, independence of all else."""

import json
import math
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.conditions import Conditions
from mmdiff.generation.model import build
from mmdiff.training.data import Batch, Endless, Positions, collate
from mmdiff.training.module import DiffusionModule
from mmdiff.training.prepare import prepare


def take(start, rank, world, count):
    return list(islice(Endless(start, rank, world), count))


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_processes_together_cover_each_global_batch_exactly(start, world, share, steps):
    size = share * world
    ranks = [take(start, rank, world, share * steps) for rank in range(world)]
    for step in range(steps):
        together = sorted(p for rank in ranks for p in rank[step * share : (step + 1) * share])
        assert together == list(range(start + step * size, start + (step + 1) * size))


@pytest.fixture
def positions(recipe, tmp_path):
    def make(*settings):
        prepared = prepare(recipe("conditions.text.kind=text", *settings), tmp_path)
        return Positions(prepared.source, Conditions(prepared.recipe.conditions), prepared.recipe)

    return make


def same(a: Batch, b: Batch) -> bool:
    tensors = [(a.x0, b.x0), (a.eps, b.eps), (a.position, b.position)]
    tensors += [(a.ids[name], b.ids[name]) for name in a.ids]
    tensors += [(a.present[name], b.present[name]) for name in a.present]
    return all(torch.equal(x, y) for x, y in tensors)


def test_a_position_gives_the_same_sample_whenever_and_beside_whomever(positions):
    one, two = positions(), positions()
    unpack = lambda packed: packed.float()
    forwards = {k: collate([one[k]], unpack) for k in range(40)}
    backwards = {k: collate([two[k]], unpack) for k in reversed(range(40))}
    assert all(same(forwards[k], backwards[k]) for k in range(40))


def test_noise_is_normal_and_distinct_for_each_position(positions):
    data = positions()
    noise = torch.stack([data[k][1] for k in range(60)])
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03
    correlation = torch.corrcoef(noise.flatten(1)) - torch.eye(60)
    assert float(correlation.abs().max()) < 0.4


def test_flips_and_dropout_have_their_share_and_half_of_the_smallest_is_common(positions):
    data = positions("conditions.text.dropout=0.25", "conditions.style.dropout=0.5")
    count = 2000
    given = [data.conditions.present(data._raw({"text": "a", "style": "flat"}, k)) for k in range(count)]
    text, style = (torch.tensor([bool(row[name]) for row in given]).double() for name in ("text", "style"))
    assert float(text.mean()) == pytest.approx(0.75, abs=0.04)
    assert float(style.mean()) == pytest.approx(0.5, abs=0.04)
    both_given = 0.75 * 0.5 / (1 - 0.125)  # common draw, then one of its own each
    assert float((text * style).mean()) == pytest.approx(both_given, abs=0.04)
    assert float((style * (1 - text)).mean()) == pytest.approx(0.5 - both_given, abs=0.02)
    mirrored = 0
    for k in range(200):
        plain = data.source[data.place(k)][0]
        mirrored += int(torch.equal(data[k][0], plain.flip(-1)))
        assert torch.equal(data[k][0], plain) or torch.equal(data[k][0], plain.flip(-1))
    assert 70 < mirrored < 130


def test_alternative_captions_have_their_share(positions):
    data = positions("data.alternative_share=0.5", "conditions.text.dropout=0")
    said = [data._caption({"text": "main", "tags": ["one", "two"]}, k) for k in range(2000)]
    assert said.count("main") / 2000 == pytest.approx(0.5, abs=0.04)
    assert said.count("one") / 2000 == pytest.approx(0.25, abs=0.04)
    assert set(said) == {"main", "one", "two"}
    assert data._caption({"text": "main", "tags": []}, 0) == "main"
    assert {data._caption({"text": "main", "tags": 7}, k) for k in range(99)} == {"main", "7"}


def test_captions_become_phrases_in_their_share(positions):
    data = positions(
        *("conditions.text.dropout=0", "data.alternative_share=0", "data.tags=tags", "data.phrase_share=0.5"),
        "data.phrases=['{tag} of {text}', 'a {text}']",
    )
    said = [data._caption({"text": "main", "tags": ["one", "two"]}, k) for k in range(2000)]
    assert said.count("main") / 2000 == pytest.approx(0.5, abs=0.04)
    assert said.count("a main") / 2000 == pytest.approx(0.25, abs=0.04)
    for joined in ("one of main", "two of main"):
        assert said.count(joined) / 2000 == pytest.approx(0.125, abs=0.03)
    assert {data._caption({"text": "main"}, k) for k in range(200)} == {"main", "a main"}
    assert {data._caption({"text": "", "tags": ["one"]}, k) for k in range(200)} == {None}


def test_without_captions_the_text_is_absent(positions):
    data = positions("conditions.text.dropout=0", "data.alternative_share=0")
    assert data._raw({"text": "", "style": "flat"}, 0)["text"] is None
    assert data._raw({"text": "x"}, 0)["style"] is None


def test_files_of_several_shapes_are_trained_at_several_sizes(recipe, shapes, tmp_path):
    """Each batch is of one size, the losses are those of any batch, and a later session knows the shapes."""
    asked = recipe(f"data.path={shapes}", "data.sizes=[16x8, 8x16]", "training.given=0.5")
    asked = asked.override(["conditions={text: {kind: text}}", "data.alternative_share=0"])
    prepared = prepare(asked, tmp_path)
    assert prepared.summary[0].endswith("9 samples, 8x8: 3, 16x8: 3, 8x16: 3")
    model = build(prepared.recipe)
    data = Positions(prepared.source, model.conditions, prepared.recipe)
    module = DiffusionModule(model, asked)
    seen = set()
    for step in range(18):
        batch = collate([data[4 * step + k] for k in range(4)], model.modality.unpack)
        assert batch.x0.shape == batch.eps.shape
        assert batch.given.shape[2:] == batch.x0.shape[2:]
        names = {int(prepared.source.name(data.place(4 * step + k))[0]) % 3 for k in range(4)}
        assert names == {[(8, 8), (8, 16), (16, 8)].index(tuple(batch.x0.shape[2:]))}
        assert math.isfinite(float(module.training_step(batch, step).detach()))
        seen.add(batch.x0.shape)
    assert len(seen) == 3
    (tmp_path / "data.json").write_text(json.dumps(prepared.record))
    again = prepare(asked, tmp_path)
    assert again.summary == prepared.summary
    assert torch.equal(again.source[4][0], prepared.source[4][0])
