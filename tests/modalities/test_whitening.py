import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.modalities.whitening import Whitening, measured


def data(seed: int = 0, channels: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0 ** (torch.arange(channels)[:, None] / 2 - 1)
    return scale * (torch.randn(6, channels, 40, generator=generator) + 2)


def flat(batch: torch.Tensor) -> torch.Tensor:
    return batch.double().transpose(0, 1).flatten(1)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 9))
def test_however_the_data_is_cut_the_result_is_that_of_all(cuts, seed):
    batch = data(seed)
    parts = [part for part in torch.tensor_split(batch, sorted(cuts)) if len(part)]
    got = measured(parts)
    torch.testing.assert_close(torch.tensor(got.mean).double(), flat(batch).mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        torch.tensor(got.std).double(), flat(batch).std(1, correction=0), rtol=1e-6, atol=0
    )


def test_what_was_measured_becomes_white():
    white = flat(measured([data()]).whiten(data()))
    assert white.mean(1).abs().max() < 1e-5
    assert (white.std(1, correction=0) - 1).abs().max() < 1e-5


@given(st.integers(0, 99))
def test_unwhitening_undoes_whitening(seed):
    whitening = measured([data()])
    batch = data(seed)
    off = (whitening.unwhiten(whitening.whiten(batch)) - batch).abs().amax((0, 2))
    assert (off / torch.tensor(whitening.std)).max() < 2e-6
    assert torch.equal(whitening.whiten(batch[0]), whitening.whiten(batch)[0])


def test_padding_does_not_count():
    batch, lengths = data(), torch.tensor([40, 1, 0, 7, 40, 13])
    spoilt = batch.clone()
    for item, length in zip(spoilt, lengths, strict=True):
        item[:, length:] = torch.nan
    valid = torch.cat([item[:, :length] for item, length in zip(batch, lengths, strict=True)], 1)
    got, wanted = measured([spoilt], [lengths]), measured([valid])
    torch.testing.assert_close(torch.tensor(got.mean), torch.tensor(wanted.mean))
    torch.testing.assert_close(torch.tensor(got.std), torch.tensor(wanted.std))


def test_large_means_do_not_drown_small_deviations():
    batch = torch.randn(4, 1, 1000, dtype=torch.float64) + 1e7
    assert measured(batch.split(1)).std[0] == pytest.approx(float(batch.std(correction=0)), rel=1e-6)


def test_constant_channels_do_not_divide_by_zero():
    batch = data()
    batch[:, 2] = 7
    whitening = measured([batch])
    white = whitening.whiten(batch)
    assert white[:, 2].abs().max() == 0
    assert bool(white.isfinite().all())
    torch.testing.assert_close(whitening.unwhiten(white), batch, rtol=1e-5, atol=1e-5)
    silent = measured([torch.zeros(2, 3, 4)])
    assert silent == Whitening((0.0,) * 3, (1.0,) * 3)


def test_the_state_goes_through_json_unchanged():
    whitening = measured([data()])
    assert Whitening.of(json.loads(json.dumps(whitening.state()))) == whitening


def test_nothing_and_nan_are_refused():
    for batches in ([], [torch.zeros(0, 3, 4)], [torch.full((1, 3, 4), torch.nan)]):
        with pytest.raises(ValueError, match="at least one frame of finite numbers"):
            measured(batches)
    with pytest.raises(ValueError, match="of 5 channels, got coefficients of 4"):
        measured([data()]).whiten(torch.zeros(4, 9))
    with pytest.raises(ValueError, match="above 0"):
        Whitening((0.0,), (0.0,))
