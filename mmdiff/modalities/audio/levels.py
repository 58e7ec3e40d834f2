"""How loud a sound is written: each file on its own, never across a batch.

The names and the levels are those of audiocraft, so that files of both sound alike side by side.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import loudness

from mmdiff.errors import UserError
from mmdiff.naming import suggestion

PEAK_DB, RMS_DB, LOUDNESS_LUFS = -1.0, -18.0, -14.0
# Below this, a sound is left as it is: -54 dB, which no gain should turn into music (audiocraft's floor).
FLOOR = 2e-3
_SHORTEST = 0.4  # seconds: one block of the loudness gate (ITU-R BS.1770-4)
_MOST_CHANNELS = 5  # that BS.1770 has weights for
_ROOM = 0.25  # peak of what is measured: torchaudio clamps what its filters give to [-1, 1]


def levelled(wave: Float[Tensor, "c s"], sample_rate: int, policy: str = "none") -> Float[Tensor, "c s"]:
    """The wave at the level that a policy of ``POLICIES`` gives.

    - none: as it is.
    - clip: clamped to full scale. Writing does as much to any other, and says so.
    - peak: the largest sample at -1 dB of full scale.
    - rms: root mean square, over all channels, at -18 dB.
    - loudness: -14 LUFS; for what has no loudness (shorter than 0.4 s, more than 5 channels) as rms.

    Rms and loudness may leave samples beyond full scale, which writing clips with a warning. Silence stays
    silence, and so does what is below -54 dB.

    Raises:
        UserError: there is no such policy.
    """
    if policy not in POLICIES:
        raise UserError(f"unknown level policy {policy!r}{suggestion(policy, POLICIES)}")
    return POLICIES[policy](wave, sample_rate) if wave.numel() else wave


def _peak(wave: Tensor, _rate: int) -> Tensor:
    return _scaled(wave, wave.abs().max(), PEAK_DB)


def _rms(wave: Tensor, _rate: int) -> Tensor:
    return _scaled(wave, _root_mean_square(wave), RMS_DB)


def _loudness(wave: Tensor, rate: int) -> Tensor:
    if _root_mean_square(wave) < FLOOR:
        return wave
    if wave.shape[-1] < _SHORTEST * rate or wave.shape[0] > _MOST_CHANNELS:
        return _rms(wave, rate)
    wave_in_room = wave * (_ROOM / wave.abs().max())
    lufs = loudness(wave_in_room, rate)
    if not lufs.isfinite():  # the gate finds nothing loud enough
        return _rms(wave, rate)
    return wave_in_room * 10 ** ((LOUDNESS_LUFS - lufs) / 20)


def _root_mean_square(wave: Tensor) -> Tensor:
    return wave.double().square().mean().sqrt().to(wave.dtype)


def _scaled(wave: Tensor, measure: Tensor, decibels: float) -> Tensor:
    return wave * (10 ** (decibels / 20) / measure) if measure >= FLOOR else wave


POLICIES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "none": lambda wave, rate: wave,
    "clip": lambda wave, rate: wave.clamp(-1, 1),
    "peak": _peak,
    "rms": _rms,
    "loudness": _loudness,
}
