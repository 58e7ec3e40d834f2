import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.modalities.whitening import measured


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
    mean, std = measured(parts)
    torch.testing.assert_close(mean, flat(batch).mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(std, flat(batch).std(1, correction=0), rtol=1e-6, atol=0)


def test_padding_does_not_count():
    batch, lengths = data(), torch.tensor([40, 1, 0, 7, 40, 13])
    spoilt = batch.clone()
    for item, length in zip(spoilt, lengths, strict=True):
        item[:, length:] = torch.nan
    valid = torch.cat([item[:, :length] for item, length in zip(batch, lengths, strict=True)], 1)
    got, wanted = measured([spoilt], [lengths]), measured([valid])
    torch.testing.assert_close(got, wanted)


def test_large_means_do_not_drown_small_deviations():
    batch = torch.randn(4, 1, 1000, dtype=torch.float64) + 1e7
    _, std = measured(batch.split(1))
    assert float(std[0]) == pytest.approx(float(batch.std(correction=0)), rel=1e-6)


def test_constant_channels_do_not_divide_by_zero():
    batch = data()
    batch[:, 2] = 7
    mean, std = measured([batch])
    white = (batch - mean[:, None]) / std[:, None]
    assert white[:, 2].abs().max() == 0
    assert bool(white.isfinite().all())
    silent_mean, silent_std = measured([torch.zeros(2, 3, 4)])
    assert torch.equal(silent_mean, torch.zeros(3).double())
    assert torch.equal(silent_std, torch.ones(3).double())


def test_nothing_and_nan_are_refused():
    for batches in ([], [torch.zeros(0, 3, 4)], [torch.full((1, 3, 4), torch.nan)]):
        with pytest.raises(ValueError, match="at least one frame of finite numbers"):
            measured(batches)
