"""The network of aisfx itself is only tested where its package is installed."""

from importlib.machinery import PathFinder
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff import cli, counter
from mmdiff.data.tones import tone
from mmdiff.errors import UserError
from mmdiff.evaluation import features, sounds
from mmdiff.evaluation.sounds import Sounds
from tests.needs import needs

RATE = 16000
installed = needs("aisfx")


def notes(count=12, seed=0):
    return torch.stack([tone(seed, index, RATE)[0] for index in range(count)])


@given(st.integers(1, 20_000))
def test_blocks_hold_all_of_a_sound_of_any_length(samples):
    shown = features.blocks(torch.ones(samples), RATE)
    frames = -(-samples * features.RATE // RATE) // features.HOP + 1
    assert shown.shape == (max(-(-(frames - 100) // 50), 0) + 1, 100, features.BANDS)
    assert shown.isfinite().all()


def test_blocks_overlap_by_half_and_know_no_level():
    wave = counter.normal(0, "wave", shape=(5 * RATE,))
    shown = features.blocks(wave, RATE)
    assert len(shown) == 4
    torch.testing.assert_close(shown[1, :50], shown[0, 50:])
    torch.testing.assert_close(features.blocks(0.01 * wave, RATE), shown, atol=1e-4, rtol=0)
    assert (features.blocks(torch.zeros(RATE), RATE) == 0).all()
    assert shown.max() < 1.2


def test_a_tone_is_where_it_should_be():
    """96 bands up to 22,050 Hz: 1 kHz is in the one around its place on the mel scale."""
    shown = features.blocks(torch.sin(2 * torch.pi * 1000 / RATE * torch.arange(2 * RATE)), RATE)
    assert int(shown[0, 40].argmax()) == pytest.approx(97 * 1000 / 3920 - 1, abs=1)


def test_without_the_package_the_way_to_get_it_is_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(PathFinder, "find_spec", lambda *words: None)
    with pytest.raises(UserError, match="no package aisfx: pip install --no-deps aisfx"):
        features.require()
    assert cli.main(["eval", str(tmp_path), "--embeddings"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@installed
def test_the_network_hears_more_noise_as_a_larger_distance():
    (measure,) = sounds.EMBEDDINGS
    real, others = Sounds(notes(), RATE), notes(seed=1)
    noise = counter.normal(0, "noise", shape=others.shape)
    made = [Sounds(others + strength * noise, RATE) for strength in (0, 0.003, 0.01, 0.03, 0.1)]
    found = [measure.figure(one, real, counter.generator(0, "x")).value for one in made]
    assert all(a < b for a, b in pairwise(found))


@installed
def test_embeddings_are_those_of_each_sound_alone_at_any_level():
    waves = notes(4)[:, 0]
    found = features.embedded(waves, RATE)
    assert found.shape == (4, 512)
    torch.testing.assert_close(
        features.embedded(0.1 * waves.flip(0), RATE), found.flip(0), atol=1e-3, rtol=1e-3
    )
    assert features.embedded(torch.zeros(1, 100), RATE).isfinite().all()
