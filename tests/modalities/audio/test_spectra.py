import math

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.errors import UserError
from mmdiff.modalities.audio.compression import compress, compress_complex, expand, expand_complex
from mmdiff.modalities.audio.mel import Mel
from mmdiff.modalities.audio.spectra import REPRESENTATIONS, Mdct, Representation, Stft, representation
from mmdiff.modalities.whitening import measured

RATE = 16_000
EXACT = [
    "mdct",
    "mdct(bins=64, power=0.2)",
    "mdct(bins=512)",
    "mdct(bins=7, power=1)",
    "stft",
    "stft(size=1024, hop=256, power=0.2)",
    "stft(size=510, hop=255)",
    "stft(size=64, hop=10, power=1)",
    "wave",
    "wave(patch=3)",
]


def music(*shape: int) -> torch.Tensor:
    """Decaying partials over a little noise, at a random level: peaks above a floor, as in real sounds."""
    t = torch.arange(shape[-1]) / RATE
    tones = torch.exp(-3 * t) * (torch.sin(2 * math.pi * 440 * t) + 0.3 * torch.sin(2 * math.pi * 3000 * t))
    return (0.3 * tones + 0.003 * torch.randn(shape)) * 10 ** -float(torch.rand(()))


def snr(wanted: torch.Tensor, got: torch.Tensor) -> float:
    wanted, got = wanted.double(), got.double()
    return float(10 * (wanted.square().sum() / (wanted - got).square().sum().clamp_min(1e-300)).log10())


@pytest.mark.parametrize("spec", EXACT)
@given(st.integers(1, 3000), st.integers(1, 16), st.sampled_from([torch.randn, music]))
def test_every_length_and_channel_count_comes_back(spec, samples, channels, kind):
    part, wave = representation(spec, RATE), kind(2, channels, samples)
    coefficients = part.encode(wave)
    assert coefficients.shape == (2, part.channels(channels), part.frames(samples))
    assert coefficients.dtype == torch.float32
    assert snr(wave, part.decode(coefficients, samples)) >= 120
    mean, std = (values.float()[:, None] for values in measured([coefficients]))
    white = (coefficients - mean) / std
    assert snr(wave, part.decode(white * std + mean, samples)) >= 120


@pytest.mark.parametrize("spec", EXACT)
def test_long_sounds_come_back(spec):
    part, wave = representation(spec, 1000), torch.randn(1, 600_000)
    assert snr(wave, part.decode(part.encode(wave), 600_000)) >= 120


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["mdct", "stft", "wave"])
def test_ten_minutes_come_back(spec):
    part, wave = representation(spec, RATE), music(1, 600 * RATE)
    assert snr(wave, part.decode(part.encode(wave), 600 * RATE)) >= 120


@pytest.mark.parametrize("spec", [*EXACT, "mel"])
def test_silence_stays_silence_and_waves_do_not_mix(spec):
    part = representation(spec, RATE)
    wave = torch.randn(3, 2, 700)
    wave[1, 0] = 0
    coefficients = part.encode(wave)
    assert part.decode(coefficients, 700)[1, 0].abs().max() < 1e-4
    torch.testing.assert_close(part.encode(wave[2]), coefficients[2])
    own = part.encode(wave[2, 1:])
    torch.testing.assert_close(own, coefficients[2, part.channels(1) :])


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_all_keep_the_protocol(name):
    part = representation(name, RATE)
    assert isinstance(part, Representation)
    assert part.lossless == (name not in {"mel", "polar"})
    assert part.seconds_per_frame == part.hop / RATE
    assert hash(part) == hash(representation(name, RATE))
    longer = part.decode(part.encode(torch.randn(1, 100)), 5000)
    assert longer.shape == (1, 5000)
    assert not longer[:, 4000:].abs().max() > 1e-4


@given(st.integers(1, 6), st.integers(1, 90))
def test_mdct_is_the_textbook_sum(bins, samples):
    """With numpy and in float64, term by term."""
    wave = torch.randn(samples, dtype=torch.float64)
    got = Mdct(RATE, bins, power=1).encode(wave[None])
    padded = np.pad(wave.numpy(), (bins, bins + -samples % bins))
    for (k, frame), value in np.ndenumerate(got.numpy()):
        m = np.arange(2 * bins)
        angle = np.pi / bins * (m + 0.5 + bins / 2) * (k + 0.5)
        terms = (
            np.sin(np.pi * (m + 0.5) / (2 * bins)) * np.cos(angle) * padded[frame * bins : (frame + 2) * bins]
        )
        assert value == pytest.approx(np.sqrt(2 / bins) * terms.sum(), abs=1e-12)


def test_mdct_is_orthonormal():
    wave = torch.randn(1, 25_600)
    assert float(Mdct(RATE, power=1).encode(wave).square().sum() / wave.square().sum()) == pytest.approx(
        1, abs=1e-4
    )


def test_stft_is_that_of_torch():
    wave, part = torch.randn(2, 1024), Stft(RATE, 64, 16, power=1)
    window = torch.hann_window(64)
    wanted = torch.stft(wave, 64, 16, window=window, pad_mode="constant", return_complex=True) / 8
    got = part.encode(wave[:, None])
    torch.testing.assert_close(got[:, :33], wanted.real)
    torch.testing.assert_close(got[:, 33:], wanted.imag[:, 1:-1])


def test_stft_wastes_no_channel():
    spread = Stft(RATE, 64, 32).encode(torch.randn(1, 50_000)).std(1)
    assert spread.min() > 0.3 * spread.max()


@pytest.mark.parametrize("highest", [0.0, 6000.0])
def test_mel_is_that_of_torchaudio(highest):
    wave, part = torch.randn(2, 4096), Mel(RATE, bands=40, size=512, hop=128, highest=highest)
    reference = torchaudio.transforms.MelSpectrogram(
        RATE,
        512,
        hop_length=128,
        f_max=highest or None,
        n_mels=40,
        power=1.0,
        norm="slaney",
        mel_scale="slaney",
        pad_mode="constant",
    )
    torch.testing.assert_close(part.encode(wave[:, None]), reference(wave).clamp_min(1e-5).log())


def test_mel_comes_back_to_a_sound_of_like_bands_and_always_the_same():
    part, wave = representation("mel(bands=128)", RATE), music(1, 8000)
    logs = part.encode(wave)
    made = part.decode(logs, 8000)
    assert torch.equal(made, part.decode(logs, 8000))
    loud = logs > logs.max() - 5
    assert (part.encode(made) - logs)[loud].abs().mean() < 0.5


@pytest.mark.parametrize("samples", [1, 100, 511, 513, 1025])
def test_mel_of_the_shortest_sounds(samples):
    part = representation("mel", RATE)
    made = part.decode(part.encode(torch.randn(2, samples)), samples)
    assert made.shape == (2, samples)
    assert bool(made.isfinite().all())


@given(st.floats(0.2, 1), st.floats(-100, 100, width=32))
def test_compression_is_odd_grows_and_is_undone(power, value):
    x = torch.tensor([value, value + 1], dtype=torch.float64)
    y = compress(x, power)
    torch.testing.assert_close(expand(y, power), x, rtol=1e-10, atol=0)
    assert torch.equal(compress(-x, power), -y)
    assert y[0] < y[1]


def test_complex_compression_keeps_the_phase():
    z = torch.randn(500, dtype=torch.complex128)
    z[0] = 0
    y = compress_complex(z, 0.3)
    torch.testing.assert_close(y.abs(), z.abs() ** 0.3)
    torch.testing.assert_close(y.angle(), z.angle())
    torch.testing.assert_close(expand_complex(y, 0.3), z)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mdtc", "unknown representation 'mdtc'; did you mean 'mdct'"),
        ("mdct(bin=3)", "no option 'bin'; did you mean 'bins'"),
        ("mdct(bins=0)", "'bins' of representation 'mdct': got 0, expected 1 or more"),
        ("mdct(power=0.1)", "'power' of representation 'mdct': got 0.1, expected 0.2 to 1"),
        ("stft(size=512, hop=257)", "size 512 and hop 257: expected an even size, twice the hop or more"),
        ("stft(size=9, hop=2)", "size 9"),
        ("wave(patch=-1)", "got -1"),
        ("mel(bands=0)", "'bands' of representation 'mel': got 0"),
        ("mel(highest=9000)", "at most 8000.0 Hz"),
        ("mel(vocoder='hifigen')", "unknown vocoder 'hifigen'; did you mean 'hifigan'"),
        ("mel(vocoder='hifigan')", "hifigan decodes mel spectrograms of 22050 Hz, .* got 16000 Hz"),
    ],
)
def test_wrong_specs_are_told(spec, message):
    with pytest.raises(UserError, match=message):
        representation(spec, RATE)


def test_polar_brings_tones_back_and_stands_still_on_them():
    """The mean frequency of the loudest bin is that of the tone, in Hz, whatever its phase."""
    part, hz = representation("polar(rounds=0)", RATE), 443.21
    time = torch.arange(RATE) / RATE
    for phase in (0.0, 2.0, 3.6):
        wave = 0.3 * torch.sin(2 * math.pi * hz * time + phase)[None]
        coefficients = part.encode(wave)
        decoded, tone = part.decode(coefficients, RATE), slice(RATE - 3 * part.hop)
        assert snr(wave[:, tone], decoded[:, tone]) > 100
        # The cut at the end fills bins that were silent so far: rounding made their phases
        assert snr(wave, decoded) > 60
        logs, turns = coefficients.split(513)
        best = int(logs[:, 30].argmax())
        still = turns[best, 5:55]
        assert still.std() < 1e-3
        assert float(best * RATE / 1024 + still.mean() * RATE / 512) == pytest.approx(hz, abs=0.05)
        assert logs[best, 30] == pytest.approx(math.log(0.3), abs=0.1)


def test_polar_goes_on_from_what_is_known_and_leads_to_what_is_known_behind_a_gap():
    """Law: what fills a gap shifts no phase behind it; less than half a turn too much is undone."""
    part, at = representation("polar(rounds=0)", RATE), torch.arange(RATE, dtype=torch.float64) / RATE
    wave = sum(0.2 * (2 * math.pi * hz * at + hz).sin() for hz in (443.21, 1250.0))[None]
    known = torch.ones(part.frames(RATE), dtype=torch.bool)
    known[20:40] = False
    behind = at * RATE > 42 * part.hop
    for detuned, within in ((0.02, True), (0.07, False)):  # 21 frames turn by 0.42 and by 1.47 of a half turn
        made = part.encode(wave)
        made[part.size // 2 + 1 :, 20:40] += detuned
        beside, alone = part.decode_beside(made, wave, known), part.decode(made, RATE)
        assert snr(wave[:, behind], beside[:, behind]) > 40
        assert snr(wave[:, behind], alone[:, behind]) < 5
        assert (snr(wave, beside) > 25) == within
    assert torch.equal(part.decode_beside(made, wave, torch.zeros_like(known)), alone)


def test_polar_frames_that_contradict_each_other_still_give_a_wave():
    part = representation("polar", RATE)
    wave = part.decode(torch.randn(2, part.channels(2), 40) - 3, 9000)
    assert wave.shape == (2, 2, 9000)
    assert wave.isfinite().all()


@pytest.mark.parametrize(("size", "hop"), [(1023, 256), (1024, 257)])
def test_polar_refuses_sizes_that_cannot_tell_frequencies(size, hop):
    with pytest.raises(UserError, match="expected an even size, four hops or more"):
        representation(f"polar(size={size}, hop={hop})", RATE).frames(1)
