"""Magnitude and instantaneous frequency: of a steady tone both stand still, whatever its phase.

The real numbers of an MDCT or an STFT turn from frame to frame by an angle that depends on the pitch; a
network must learn every such turn before a tone has its pitch, and their mean says nothing. Here a partial is
a few channels of constant value (Engel et al., 2019, "GANSynth", arXiv:1902.08710, section 3).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from mmdiff.errors import UserError
from mmdiff.modalities.audio.nearest import nearest

# Of a sine at full scale: where the scale turns from logarithmic to linear, 60 dB down. What is fainter has a
# frequency that nobody hears, and hardly any in this scale.
_FAINT = 1e-3
_LOUDEST = 2.0  # what no sound within full scale exceeds, so that one wrong number does not drown the others


@dataclass(frozen=True)
class Polar:
    """Log magnitude, and the frequency of each bin beside its own, by the phase between two frames.

    A frame has ``size + 2`` channels: the logs of all bins, then their frequencies in units of half the frame
    rate, faded out where there is nothing. Rounding adds up from frame to frame, so long sounds do not come
    back exactly. Coefficients whose neighbouring bins contradict each other, as a network makes them, become
    consistent by a few rounds of Griffin and Lim (1984).
    """

    sample_rate: int
    size: int = 1024
    hop: int = 256
    rounds: int = 4

    lossless: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for option, least in (("size", 4), ("hop", 1), ("rounds", 0)):
            value = getattr(self, option)
            if not isinstance(value, int) or value < least:
                raise UserError(
                    f"option {option!r} of representation 'polar': got {value!r}, expected {least} or more"
                )
        if self.size % 2 or self.hop > self.size // 4:
            raise UserError(
                f"polar size {self.size} and hop {self.hop}: expected an even size, four hops or more"
            )

    @property
    def reach(self) -> tuple[int, int]:
        return self.size // 2 + self.hop, self.size // 2

    @property
    def hertz(self) -> Float[Tensor, " bins"]:
        return torch.arange(self.size // 2 + 1).repeat(2) * (self.sample_rate / self.size)

    @property
    def seconds_per_frame(self) -> float:
        return self.hop / self.sample_rate

    def channels(self, c: int) -> int:
        return c * (self.size + 2)

    def frames(self, samples: int) -> int:
        return -(-samples // self.hop) + 1

    def encode(self, wave: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        rows = wave.reshape(-1, wave.shape[-1])
        rows = F.pad(rows, (0, -wave.shape[-1] % self.hop))
        spectrum = self._spectrum(rows)
        magnitude = spectrum.abs() / self._loudest
        turn = F.pad(spectrum[..., :-1], (1, 0)).conj() * spectrum * self._backwards(spectrum)
        turn[..., 0] = spectrum[..., 0]  # the first phase
        heard = magnitude / (magnitude + _FAINT)
        rows = torch.cat([(magnitude + _FAINT).log(), turn.angle() / math.pi * heard], 1)
        return rows.reshape(*wave.shape[:-2], wave.shape[-2] * rows.shape[1], rows.shape[-1])

    def decode(self, coefficients: Float[Tensor, "*b k l"], samples: int) -> Float[Tensor, "*b c s"]:
        return self._decode(coefficients, samples, lambda angle: angle)

    def decode_beside(
        self, coefficients: Float[Tensor, "k l"], wave: Float[Tensor, "c s"], known: Bool[Tensor, " l"]
    ) -> Float[Tensor, "c s"]:
        """`decode` with the phases that a wave has in the frames that are known of it.

        Frequencies say how a phase goes on, and after made frames it is another than before. So made phases
        are turned to lead from those that are known before them to those after, in equal steps.
        """

        def led(angle: Float[Tensor, "c bins l"]) -> Float[Tensor, "c bins l"]:
            padded = F.pad(wave, (0, -wave.shape[-1] % self.hop)).to(angle)
            return angle + _led(self._spectrum(padded).angle() - angle, known)

        return self._decode(coefficients, wave.shape[-1], led if bool(known.any()) else lambda angle: angle)

    def _decode(
        self, coefficients: Float[Tensor, "*b k l"], samples: int, turned: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "*b c s"]:
        """`decode` with the phases of frames, `[rows bins l]`, `turned` before they are made consistent."""
        rows = coefficients.reshape(-1, self.size + 2, coefficients.shape[-1]).double()
        logs, faded = rows.split(self.size // 2 + 1, 1)
        loud = logs.exp().clamp(_FAINT, _LOUDEST + _FAINT)
        magnitude = (loud - _FAINT) * self._loudest
        turns = faded * loud / (loud - _FAINT).clamp_min(_FAINT * 1e-6)
        back = self._backwards(rows).angle()
        angle = (math.pi * turns.clamp(-1, 1) - back).cumsum(-1) + back  # the first frame has come from none
        spectrum = torch.polar(magnitude, turned(angle))
        for _ in range(self.rounds):
            spectrum = torch.polar(magnitude, self._spectrum(self._wave(spectrum)).angle())
        waves = self._wave(spectrum).to(coefficients.dtype)
        waves = F.pad(waves[:, :samples], (0, max(samples - waves.shape[-1], 0)))
        return waves.reshape(*coefficients.shape[:-2], -1, samples)

    @property
    def _loudest(self) -> float:
        """The magnitude of a sine at full scale."""
        return self.size / 4

    def _backwards(self, like: Tensor) -> Complex[Tensor, "bins 1"]:
        """The turn of each bin's own frequency in a hop, undone."""
        bins = torch.arange(self.size // 2 + 1, device=like.device, dtype=torch.float64)[:, None]
        turn = -2 * math.pi * (bins * self.hop % self.size) / self.size
        return torch.polar(torch.ones_like(turn), turn).to(torch.promote_types(like.dtype, torch.complex64))

    def _spectrum(self, rows: Float[Tensor, "rows s"]) -> Complex[Tensor, "rows bins l"]:
        window = torch.hann_window(self.size).to(rows)
        return torch.stft(rows, self.size, self.hop, window=window, pad_mode="constant", return_complex=True)

    def _wave(self, spectrum: Complex[Tensor, "rows bins l"]) -> Float[Tensor, "rows s"]:
        window = torch.hann_window(self.size).to(spectrum.real)
        return torch.istft(spectrum, self.size, self.hop, window=window)


def _led(error: Float[Tensor, "rows bins l"], known: Bool[Tensor, " l"]) -> Float[Tensor, "rows bins l"]:
    """Angles known in some frames, which between two of these go the short way from one to the other."""
    at, end = torch.arange(len(known), device=known.device), len(known)
    before, after = nearest(known, (-1, end))
    first, last = torch.where(before < 0, after, before), torch.where(after == end, before, after)
    way = torch.remainder(error[..., last] - error[..., first] + math.pi, 2 * math.pi) - math.pi
    return error[..., first] + way * ((at - first) / (last - first).clamp_min(1))
