"""Log-mel spectrograms: small and close to how people hear, but without phase."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import griffinlim, melscale_fbanks

from mmdiff.errors import UserError
from mmdiff.modalities.audio import vocoder as vocoders
from mmdiff.naming import suggestion

_QUIETEST = 1e-5  # of HiFi-GAN and its followers
_VOCODERS = ("griffin_lim", "hifigan")


@dataclass(frozen=True)
class Mel:
    """Log of the magnitudes in mel bands, as vocoders take them; lossy: the phase is gone, and detail too.

    Slaney's mel scale and norm, Hann window, natural logarithm. Decoded by Griffin-Lim with the momentum of
    Perraudin et al. (2013), from zero phase, hence the same each time; or by a HiFi-GAN, best for speech.
    """

    sample_rate: int
    bands: int = 80
    size: int = 1024
    hop: int = 256
    highest: float = 0.0  # Hz, upper end of the last band; 0: half the sample rate
    iterations: int = 32  # of Griffin-Lim
    vocoder: str = "griffin_lim"

    lossless: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for option in ("bands", "size", "hop", "iterations"):
            value = getattr(self, option)
            if not isinstance(value, int) or value < 1:
                raise UserError(
                    f"option {option!r} of representation 'mel': got {value!r}, expected 1 or more"
                )
        if self.size % 2 or self.hop > self.size // 2 or not 0 <= self.highest <= self.sample_rate / 2:
            raise UserError(
                f"mel size {self.size}, hop {self.hop}, highest {self.highest}: expected an even size, twice"
                f" the hop or more, and at most {self.sample_rate / 2} Hz"
            )
        if self.vocoder not in _VOCODERS:
            raise UserError(f"unknown vocoder {self.vocoder!r}{suggestion(self.vocoder, _VOCODERS)}")
        if self.vocoder == "hifigan" and self._kind != _HIFIGAN:
            raise UserError(f"hifigan decodes mel spectrograms of {_HIFIGAN}, got {self._kind}")

    @property
    def reach(self) -> tuple[int, int]:
        return self.size // 2, self.size // 2

    @property
    def hertz(self) -> None:
        return None

    @property
    def seconds_per_frame(self) -> float:
        return self.hop / self.sample_rate

    def channels(self, c: int) -> int:
        return c * self.bands

    def frames(self, samples: int) -> int:
        return -(-samples // self.hop) + 1

    def encode(self, wave: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        rows = F.pad(wave.reshape(-1, wave.shape[-1]), (0, -wave.shape[-1] % self.hop))
        window = torch.hann_window(self.size).to(rows)
        spectrum = torch.stft(
            rows, self.size, self.hop, window=window, pad_mode="constant", return_complex=True
        )
        filters = _filters(self.sample_rate, self.size, self.bands, self._highest).to(rows)
        logs = (filters.T @ spectrum.abs()).clamp_min(_QUIETEST).log()
        return logs.reshape(*wave.shape[:-2], wave.shape[-2] * self.bands, logs.shape[-1])

    def decode(self, coefficients: Float[Tensor, "*b k l"], samples: int) -> Float[Tensor, "*b c s"]:
        logs = coefficients.reshape(-1, self.bands, coefficients.shape[-1])
        waves = vocoders.hifigan(logs) if self.vocoder == "hifigan" else self._griffin_lim(logs)
        waves = F.pad(waves[:, :samples], (0, max(samples - waves.shape[-1], 0)))
        return waves.reshape(*coefficients.shape[:-2], -1, samples)

    def _griffin_lim(self, logs: Float[Tensor, "rows bands l"]) -> Float[Tensor, "rows s"]:
        # The least magnitudes of an STFT that have these mel bands, without those below zero
        inverse = _inverse(self.sample_rate, self.size, self.bands, self._highest).to(logs)
        magnitudes = (inverse.T @ logs.exp()).clamp_min(0)
        # torchaudio reflects at the ends, for which the sound must be longer than half a window
        least = self.size // 2 // self.hop + 2
        magnitudes = F.pad(magnitudes, (0, max(least - magnitudes.shape[-1], 0)))
        return griffinlim(
            magnitudes,
            torch.hann_window(self.size).to(logs),
            self.size,
            self.hop,
            self.size,
            power=1.0,
            n_iter=self.iterations,
            momentum=0.99,
            length=(magnitudes.shape[-1] - 1) * self.hop,
            rand_init=False,
        )

    @property
    def _highest(self) -> float:
        return self.highest or self.sample_rate / 2

    @property
    def _kind(self) -> str:
        return (
            f"{self.sample_rate} Hz, bands={self.bands}, size={self.size}, hop={self.hop},"
            f" highest={self._highest:g}"
        )


_HIFIGAN = (
    f"{vocoders.SAMPLE_RATE} Hz, bands={vocoders.BANDS}, size={vocoders.SIZE}, hop={vocoders.HOP},"
    f" highest={vocoders.HIGHEST:g}"
)


@lru_cache(maxsize=8)
def _filters(sample_rate: int, size: int, bands: int, highest: float) -> Float[Tensor, "bins bands"]:
    return melscale_fbanks(size // 2 + 1, 0.0, highest, bands, sample_rate, norm="slaney", mel_scale="slaney")


@lru_cache(maxsize=8)
def _inverse(sample_rate: int, size: int, bands: int, highest: float) -> Float[Tensor, "bands bins"]:
    """In float64: the bands at the bottom are narrow, and nearly alike."""
    return torch.linalg.pinv(_filters(sample_rate, size, bands, highest).double())
