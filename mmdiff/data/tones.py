"""Captioned notes synthesised by code, with the exact truth: one tone of a known pitch, timbre and loudness.

Note `index` of a `seed` is always the same, so nothing has to be stored, and at another sample rate it is the
same sound. No partial lies above half the sample rate, and no partials can add up beyond full scale.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mmdiff import counter
from mmdiff.data.drawn import Drawn

PITCHES = range(45, 85)  # MIDI numbers: 110 Hz to 1047 Hz
VELOCITIES = {"soft": 45, "loud": 110}
_REGISTERS = ((58, "low"), (72, "mid-range"), (85, "high"))  # pitches below the number have the name
_LOUD_RMS = 0.15  # at the onset of the largest velocity; whatever their phases, forty partials stay below 1
_LATEST_ONSET = 0.05  # seconds
_RELEASE = 0.05  # seconds
_MOST_PARTIALS = 40


class Timbre(NamedTuple):
    """What a tone is made of: partials, each (multiple of the pitch, amplitude, decay in 1/s), and an attack.

    The attack is the time in seconds that the tone needs to its full amplitude.
    """

    partials: tuple[tuple[float, float, float], ...]
    attack: float


def _harmonics(numbers: range, attack: float) -> Timbre:
    """Steady harmonics whose amplitudes fall like 1 / number."""
    return Timbre(tuple((k, 1 / k, 0.0) for k in numbers), attack)


def _plucked() -> Timbre:
    """A string plucked at a fifth of its length; the losses grow with the square of the harmonic's number."""
    strengths = [(k, abs(math.sin(math.pi * k / 5)) / k) for k in range(1, _MOST_PARTIALS + 1) if k % 5]
    return Timbre(tuple((k, a, 2.0 + 0.15 * k**2) for k, a in strengths), 0.004)


_FOOTAGES = ((1, 1.0), (2, 0.7), (3, 0.5), (4, 0.4), (6, 0.25), (8, 0.25))  # drawbars of an electric organ
TIMBRES = {
    "sine": Timbre(((1, 1.0, 0.0),), 0.02),
    "hollow": _harmonics(range(1, _MOST_PARTIALS, 2), 0.02),
    "bright": _harmonics(range(1, _MOST_PARTIALS + 1), 0.02),
    "organ": Timbre(tuple((k, a, 0.0) for k, a in _FOOTAGES), 0.02),
    "plucked": _plucked(),
    # The modes of a free bar (Fletcher and Rossing, 1998, The Physics of Musical Instruments, section 2.15):
    # the upper ones are not harmonic, and die away so soon that the pitch is the lowest one's.
    "bell": Timbre(((1, 1.0, 1.5), (2.756, 0.3, 8.0), (5.404, 0.15, 20.0)), 0.004),
}


def hertz(pitch: float) -> float:
    """The frequency of a MIDI pitch in equal temperament, A4 = 69 = 440 Hz."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def columns(seed: int, index: int, seconds: float = 1.0) -> dict[str, Any]:
    """The truth about a note: what `truth` says, its length `seconds` and its `onset` in seconds."""
    number = counter.key(seed, "tones", index)
    number, pitch = divmod(number, len(PITCHES))
    number, timbre = divmod(number, len(TIMBRES))
    known = truth(PITCHES[pitch], list(TIMBRES)[timbre], list(VELOCITIES)[number % len(VELOCITIES)])
    latest = min(_LATEST_ONSET, seconds / 8)
    return known | {"seconds": seconds, "onset": latest * counter.uniform(seed, "tones onset", index)}


def truth(pitch: int, timbre: str, loudness: str) -> dict[str, Any]:
    """The columns of a note with these properties: `text`, `pitch`, `timbre`, `loudness`, `velocity`."""
    register = next(name for above, name in _REGISTERS if pitch < above)
    return {
        "text": f"a {loudness} {register} {timbre} tone",
        "pitch": pitch,
        "timbre": timbre,
        "loudness": loudness,
        "velocity": VELOCITIES[loudness],
    }


def truths() -> Iterator[dict[str, Any]]:
    """Every combination once."""
    for pitch in PITCHES:
        for timbre in TIMBRES:
            for loudness in VELOCITIES:
                yield truth(pitch, timbre, loudness)


def tone(
    seed: int, index: int, sample_rate: int = 16000, seconds: float = 1.0
) -> tuple[Float[Tensor, "1 s"], dict[str, Any]]:
    """Note `index` and its columns; it sounds from its onset to the end of the clip.

    The amplitude is in proportion to the velocity.
    """
    known = columns(seed, index, seconds)
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate - known["onset"]
    timbre, pitch = TIMBRES[known["timbre"]], hertz(known["pitch"])
    wave = torch.zeros(len(time))
    for number, (ratio, amplitude, decay) in enumerate(timbre.partials):
        if ratio * pitch < sample_rate / 2:
            phase = counter.uniform(seed, "tones phase", index, number)
            wave += amplitude * _partial(time, ratio * pitch, phase, decay)
    power = sum(amplitude**2 for _, amplitude, _ in timbre.partials) / 2
    level = _LOUD_RMS / math.sqrt(power) * known["velocity"] / max(VELOCITIES.values())
    return (level * wave * _envelope(time, timbre.attack, seconds - known["onset"]))[None], known


def _partial(time: Float[Tensor, " s"], frequency: float, phase: float, decay: float) -> Float[Tensor, " s"]:
    """A decaying cosine of amplitude 1 at time 0; the phase is in turns."""
    # Whole turns are taken off in float64: float32 could not hold thousands of them and their fraction.
    turns = (time * frequency + phase).frac().float()
    wave = torch.cos(2 * math.pi * turns)
    return wave * torch.exp(-decay * time.clamp(min=0).float()) if decay else wave


def _envelope(time: Float[Tensor, " s"], attack: float, length: float) -> Float[Tensor, " s"]:
    """Nothing before time 0, then a smooth rise, and a smooth fall to nothing at `length`; both fit."""
    rise, fall = min(attack, length / 4), min(_RELEASE, length / 4)
    ramp = torch.minimum(time / rise, (length - time) / fall).clamp(0, 1)
    return (0.5 - 0.5 * torch.cos(math.pi * ramp)).float()


class Tones(Drawn):
    """The first `length` notes of a seed, `1 s`."""

    noun = "tone"

    def __init__(
        self, seed: int, length: int, sample_rate: int = 16000, seconds: float = 1.0, cache_mb: int = 2048
    ) -> None:
        super().__init__(seed, length, cache_mb)
        self.sample_rate, self.seconds = sample_rate, seconds

    def columns(self, index: int) -> dict[str, Any]:
        """The truth about a note."""
        return columns(self.seed, index, self.seconds)

    def _make(self, index: int) -> Float[Tensor, "1 s"]:
        return tone(self.seed, index, self.sample_rate, self.seconds)[0]
