"""Representations of sound: a wave to coefficients [channels frames] and back.

The channels are those of the wave times the bins of one, those of the first channel first; a 1-D network
convolves along the frames. Frame i is centred where the hop starts, and there are ``ceil(s / hop) + 1``
frames (of patches ``ceil(s / hop)``); the wave is taken to be zero beyond its ends.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mmdiff.errors import UserError
from mmdiff.modalities.audio.compression import (
    DEFAULT_POWER,
    compress,
    compress_complex,
    expand,
    expand_complex,
)
from mmdiff.modalities.audio.mel import Mel
from mmdiff.modalities.audio.polar import Polar
from mmdiff.naming import choose


@runtime_checkable
class Representation(Protocol):
    """What the audio modality asks of a representation; all are frozen dataclasses."""

    @property
    def lossless(self) -> bool:
        """Whether `decode` undoes `encode`, to at least 120 dB."""

    @property
    def hop(self) -> int:
        """Samples a frame."""

    @property
    def reach(self) -> tuple[int, int]:
        """Samples before and after the start of its hop that a frame depends on."""

    @property
    def seconds_per_frame(self) -> float:
        """The hop at the sample rate."""

    @property
    def hertz(self) -> Float[Tensor, " bins"] | None:
        """The frequency of each bin; None where bins are none, or are as far apart as people hear."""

    def channels(self, c: int) -> int:
        """Of the coefficients of a wave of c channels."""

    def frames(self, samples: int) -> int:
        """Of the coefficients of a wave of so many samples."""

    def encode(self, wave: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        """Coefficients of a wave of at least one sample."""

    def decode(self, coefficients: Float[Tensor, "*b k l"], samples: int) -> Float[Tensor, "*b c s"]:
        """The wave of so many samples; zeros where the coefficients end before it does."""


@runtime_checkable
class Beside(Protocol):
    """What a representation offers beside the rest if frames do not say how they go on from others."""

    def decode_beside(
        self, coefficients: Float[Tensor, "k l"], wave: Float[Tensor, "c s"], known: Bool[Tensor, " l"]
    ) -> Float[Tensor, "c s"]:
        """`decode` to the length of a wave, going on from it where the frames that are known of it end."""


@dataclass(frozen=True)
class Mdct:
    """Modified discrete cosine transform with a sine window: real, one value a sample, no vocoder.

    ``X[k] = sqrt(2/N) sum_m w[m] x[m] cos(pi/N (k + 1/2)(m + 1/2 + N/2))``, m < 2N (Princen, Johnson and
    Bradley, 1987; the window is ``w[m] = sin(pi (m + 1/2) / 2N)``). Orthonormal, hence white noise keeps its
    variance. Then compressed by ``power``.
    """

    sample_rate: int
    bins: int = 256
    power: float = DEFAULT_POWER

    lossless: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check("mdct", self.power, bins=self.bins)

    @property
    def hop(self) -> int:
        return self.bins

    @property
    def reach(self) -> tuple[int, int]:
        return self.bins, self.bins

    @property
    def hertz(self) -> Float[Tensor, " bins"]:
        return (torch.arange(self.bins) + 0.5) / self.bins * (self.sample_rate / 2)

    @property
    def seconds_per_frame(self) -> float:
        return self.bins / self.sample_rate

    def channels(self, c: int) -> int:
        return c * self.bins

    def frames(self, samples: int) -> int:
        return -(-samples // self.bins) + 1

    def encode(self, wave: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        rows = _precise(wave.reshape(-1, 1, wave.shape[-1]))
        rows = F.pad(rows, (self.bins, self.bins + -wave.shape[-1] % self.bins))
        rows = F.conv1d(rows, _mdct_kernel(self.bins).to(rows), stride=self.bins)
        return _stacked(compress(rows, self.power).to(wave.dtype), wave)

    def decode(self, coefficients: Float[Tensor, "*b k l"], samples: int) -> Float[Tensor, "*b c s"]:
        rows = expand(_precise(_rows(coefficients, self.bins)), self.power)
        rows = F.conv_transpose1d(rows, _mdct_kernel(self.bins).to(rows), stride=self.bins)
        return _cut(rows[:, 0, self.bins :].to(coefficients.dtype), coefficients, samples)


@lru_cache(maxsize=8)
def _mdct_kernel(bins: int) -> Float[Tensor, "bins 1 taps"]:
    """In float64: built in float32 it costs 25 to 40 dB."""
    m = torch.arange(2 * bins, dtype=torch.float64) + 0.5
    k = torch.arange(bins, dtype=torch.float64)[:, None] + 0.5
    window = torch.sin(math.pi * m / (2 * bins))
    return (math.sqrt(2 / bins) * torch.cos(math.pi / bins * k * (m + bins / 2)) * window)[:, None]


@dataclass(frozen=True)
class Stft:
    """Short-time Fourier transform with a Hann window; size / hop values a sample.

    A frame has ``size`` real channels: the real parts of all bins, from DC to Nyquist, then the imaginary
    parts of those between the two, which alone have any. The compression is of the magnitude.
    """

    sample_rate: int
    size: int = 512
    hop: int = 256
    power: float = DEFAULT_POWER

    lossless: ClassVar[bool] = True

    @property
    def reach(self) -> tuple[int, int]:
        return self.size // 2, self.size // 2

    def __post_init__(self) -> None:
        _check("stft", self.power, size=self.size, hop=self.hop)
        if self.size % 2 or self.hop > self.size // 2:
            raise UserError(
                f"stft size {self.size} and hop {self.hop}: expected an even size, twice the hop or more"
            )

    @property
    def hertz(self) -> Float[Tensor, " bins"]:
        bins = torch.arange(self.size // 2 + 1)
        return torch.cat([bins, bins[1:-1]]) * (self.sample_rate / self.size)

    @property
    def seconds_per_frame(self) -> float:
        return self.hop / self.sample_rate

    def channels(self, c: int) -> int:
        return c * self.size

    def frames(self, samples: int) -> int:
        return -(-samples // self.hop) + 1

    def encode(self, wave: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        rows = wave.reshape(-1, wave.shape[-1])
        # Up to a frame that is centred behind the last sample, or that would be divided by a window near 0
        rows = F.pad(rows, (0, -wave.shape[-1] % self.hop))
        window = torch.hann_window(self.size).to(rows)
        spectrum = torch.stft(
            rows, self.size, self.hop, window=window, pad_mode="constant", return_complex=True
        )
        spectrum = compress_complex(spectrum / math.sqrt(self.size), self.power)
        return _stacked(torch.cat([spectrum.real, spectrum.imag[:, 1:-1]], 1), wave)

    def decode(self, coefficients: Float[Tensor, "*b k l"], samples: int) -> Float[Tensor, "*b c s"]:
        rows, half = _rows(coefficients, self.size), self.size // 2
        spectrum = torch.complex(rows[:, : half + 1], F.pad(rows[:, half + 1 :], (0, 0, 1, 1)))
        spectrum = expand_complex(spectrum, self.power) * math.sqrt(self.size)
        window = torch.hann_window(self.size).to(rows)
        whole = (rows.shape[-1] - 1) * self.hop
        return _cut(
            torch.istft(spectrum, self.size, self.hop, window=window, length=whole), coefficients, samples
        )


@dataclass(frozen=True)
class Patches:
    """The wave itself, so many samples a frame; exact."""

    sample_rate: int
    patch: int = 64

    lossless: ClassVar[bool] = True

    @property
    def reach(self) -> tuple[int, int]:
        return 0, self.patch

    def __post_init__(self) -> None:
        _check("wave", 1, patch=self.patch)

    @property
    def hop(self) -> int:
        return self.patch

    @property
    def hertz(self) -> None:
        return None

    @property
    def seconds_per_frame(self) -> float:
        return self.patch / self.sample_rate

    def channels(self, c: int) -> int:
        return c * self.patch

    def frames(self, samples: int) -> int:
        return -(-samples // self.patch)

    def encode(self, wave: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        rows = F.pad(wave.reshape(-1, wave.shape[-1]), (0, -wave.shape[-1] % self.patch))
        return _stacked(rows.unflatten(-1, (-1, self.patch)).transpose(1, 2), wave)

    def decode(self, coefficients: Float[Tensor, "*b k l"], samples: int) -> Float[Tensor, "*b c s"]:
        rows = _rows(coefficients, self.patch).transpose(1, 2).flatten(1)
        return _cut(rows, coefficients, samples)


def representation(spec: str, sample_rate: int) -> Representation:
    """The representation that ``"name(key=value, ...)"`` names, for waves of a sample rate in Hz.

    Raises:
        UserError: an unknown name or option, or a value that makes no sense.
    """
    return choose(REPRESENTATIONS, spec, "representation")(sample_rate)


def _check(name: str, power: Any, **counts: Any) -> None:
    for option, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(
                f"option {option!r} of representation {name!r}: got {value!r}, expected 1 or more"
            )
    if not 0.2 <= power <= 1:  # below, float32 may no longer keep 120 dB
        raise UserError(f"option 'power' of representation {name!r}: got {power!r}, expected 0.2 to 1")


def _precise(x: Tensor) -> Tensor:
    """In float64, where there is such a thing: sums of 1,024 products in float32 keep no more than 120 dB."""
    return x if x.device.type == "mps" else x.double()


def _rows(coefficients: Tensor, bins: int) -> Tensor:
    """Coefficients of each channel of each wave on its own, [rows bins l]."""
    return coefficients.reshape(-1, bins, coefficients.shape[-1])


def _stacked(rows: Tensor, wave: Tensor) -> Tensor:
    """Rows [rows bins l] as coefficients of the waves that they came from."""
    return rows.reshape(*wave.shape[:-2], wave.shape[-2] * rows.shape[1], rows.shape[-1])


def _cut(rows: Tensor, coefficients: Tensor, samples: int) -> Tensor:
    """Rows [rows s] as waves of so many samples."""
    rows = F.pad(rows[:, :samples], (0, max(samples - rows.shape[-1], 0)))
    lead = coefficients.shape[:-2]
    return rows.reshape(*lead, -1, samples)


REPRESENTATIONS: dict[str, type[Mdct] | type[Stft] | type[Patches] | type[Mel] | type[Polar]] = {
    "mdct": Mdct,
    "stft": Stft,
    "polar": Polar,
    "mel": Mel,
    "wave": Patches,
}
