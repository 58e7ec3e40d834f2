"""Which places training takes as given."""

import pytest
import torch

from mmdiff.modalities import Audio, Video
from mmdiff.nets import Given
from mmdiff.training.data import Positions, collate
from mmdiff.training.known import FIRST, FRAMES, LONGEST, SHORTEST, known
from mmdiff.training.module import DiffusionModule
from mmdiff.training.prepare import prepare
from mmdiff.training.session import new_model


@pytest.mark.parametrize("sizes", [(62,), (8, 8), (4, 6, 6), (2,), (1, 5)])
def test_something_is_known_and_something_is_not(sizes):
    for position in range(300):
        mask = known(0, position, sizes)
        assert mask.shape == (1, *sizes)
        assert mask.dtype == torch.bool
        assert mask.any()
        assert not mask.all()


def test_where_nothing_can_be_cut_nothing_is_known():
    assert not known(0, 0, (1,)).any()
    assert not known(0, 0, (1, 1)).any()


def test_two_thirds_of_all_series_are_to_be_continued_and_the_others_to_be_filled():
    ends = [(bool(m[0, 0]), bool(m[0, -1])) for m in (known(0, k, (100,)) for k in range(3000))]
    share = {kind: ends.count(kind) / 3000 for kind in set(ends)}
    assert share[True, False] == pytest.approx(1 / 3, abs=0.03)  # forward
    assert share[False, True] == pytest.approx(1 / 3, abs=0.03)  # backward
    assert share[True, True] == pytest.approx(1 / 6, abs=0.03)  # a gap
    assert share[False, False] == pytest.approx(1 / 6, abs=0.03)  # a middle


def test_of_clips_the_first_frame_alone_is_known_or_whole_frames_or_boxes():
    masks = [known(0, k, (20, 4, 4)) for k in range(2000)]
    whole = [mask[0, :, 0, 0].tolist() for mask in masks if (mask == mask[:, :, :1, :1]).all()]
    first = [frames for frames in whole if frames == [True] + 19 * [False]]
    assert len(first) / len(masks) == pytest.approx(FIRST, abs=0.03)
    boxes = (1 - FIRST - FRAMES) / 12  # those that cut no other axis
    assert len(whole) / len(masks) == pytest.approx(FIRST + FRAMES + boxes, abs=0.03)
    assert len(set(map(tuple, whole))) > 100
    assert not known(0, 0, (1, 1, 1)).any()


def test_cuts_have_all_lengths():
    shares = torch.tensor([known(0, k, (1000,)).float().mean() for k in range(500)])
    assert shares.min() < SHORTEST + 0.02
    assert shares.max() > LONGEST - 0.02
    assert shares.mean() == pytest.approx(0.5, abs=0.04)


def test_a_position_says_it_all():
    assert torch.equal(known(3, 7, (40,)), known(3, 7, (40,)))
    assert len({tuple(known(seed, k, (40,))[0].tolist()) for seed in (0, 1) for k in range(20)}) > 30


class Wrong(torch.nn.Module):
    """Says nonsense where the sample is given and nothing elsewhere, and keeps what it was shown."""

    shown: Given

    def forward(self, x, angle, condition, valid):
        self.shown = condition.given
        return torch.where(condition.given.mask, 1e9, 0.0).expand_as(x)


def test_the_network_sees_clean_data_where_they_are_given_and_is_not_asked_for_them(recipe, tmp_path):
    prepared = prepare(recipe("training.given=1"), tmp_path)
    model = new_model(prepared.recipe)
    data = Positions(prepared.source, model.conditions, prepared.recipe)
    batch = collate([data[k] for k in range(8)], data.modalities[0].unpack)
    module = DiffusionModule(model, prepared.recipe)
    model.denoiser.net = net = Wrong()
    assert float(module.training_step(batch, 0)) < 1e3
    assert torch.equal(net.shown.mask, batch.given)
    torch.testing.assert_close(net.shown.values, batch.x0 / model.denoiser.sigma_data)


def test_how_often_something_is_given_is_the_recipes(recipe, tmp_path):
    prepared = prepare(recipe("training.given=0.25"), tmp_path)
    data = Positions(prepared.source, new_model(prepared.recipe).conditions, prepared.recipe)
    assert sum(data.given(k, None).any().item() for k in range(2000)) / 2000 == pytest.approx(0.25, abs=0.03)
    prepared = prepare(recipe(), tmp_path)
    assert Positions(prepared.source, data.conditions, prepared.recipe)[0].given is None


def test_of_a_padded_clip_the_frames_are_cut_and_not_the_padding(recipe, tmp_path):
    prepared = prepare(recipe("training.given=1"), tmp_path)
    data = Positions(prepared.source, new_model(prepared.recipe).conditions, prepared.recipe)
    data.modalities = [clips := Video(5, 4, 6)]
    _, valid = clips.window(torch.zeros(3, 4, 4, 5, dtype=torch.uint8), 0.0)
    masks = [data.given(k, valid) for k in range(200)]
    assert all(0 < mask[:, :4].sum() < 80 and not mask[:, 4:].any() for mask in masks)
    assert len({tuple(mask[0, :4].flatten().tolist()) for mask in masks}) > 50


def test_of_a_padded_series_the_sound_is_cut_and_not_its_padding(recipe, tmp_path):
    prepared = prepare(recipe("training.given=1"), tmp_path)
    data = Positions(prepared.source, new_model(prepared.recipe).conditions, prepared.recipe)
    data.modalities = [Audio(2000, 1, 1.0, "wave(patch=100)")]
    valid = (torch.arange(20) < 8)[None].float()
    masks = [data.given(k, valid) for k in range(200)]
    assert all(0 < mask[:, :8].sum() < 8 and not mask[:, 8:].any() for mask in masks)
