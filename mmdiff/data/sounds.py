"""Any sound file to float32 in [-1, 1], at its own sample rate and with its own channels.

libsndfile reads first: it is exact about lengths. FFmpeg reads what libsndfile does not know (AAC, Opus in
WebM, ALAC, ...). The content decides, never the extension.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np
import soundfile
from av.container import InputContainer
from jaxtyping import Float32

from mmdiff.data import wholesound
from mmdiff.data.badfile import BadFile

MOST_VALUES = 400_000_000  # decided before decoding: an hour of stereo at 48 kHz, 1.4 GB, and a little more
MOST_HERTZ = 1_000_000  # the fastest converters for sound stay below
# No other format is tried: playlists, for one, would open other files and addresses.
CONTAINERS = "aac,aiff,amr,ape,asf,caf,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,tta,wav,w64,wv"
_TIMED = ("mov", "matroska", "asf")  # FFmpeg's names of containers that tell how long the sound is
_SLACK = 0.1  # seconds that such a container may claim too much: Opus and AAC start before the sound does
Wave = Float32[np.ndarray, "c s"]


class Sound(NamedTuple):
    """A decoded file.

    Attributes:
        wave: full scale is 1; files of floating-point samples may exceed it.
        sample_rate: Hz.
    """

    wave: Wave
    sample_rate: int


def decoded(data: bytes, name: str) -> Sound:
    """The sound in the bytes of a file.

    Raises:
        BadFile: whatever is wrong with the file.
    """
    if not data:
        raise BadFile(name, "empty file")
    if fault := wholesound.fault(data):
        raise BadFile(name, fault)
    sound = _by_libsndfile(data, name) or _by_ffmpeg(data, name)
    if not np.isfinite(sound.wave).all():
        raise BadFile(name, "holds numbers that are not finite")
    return sound


def opened(data: bytes) -> InputContainer:
    """The bytes of a sound file as FFmpeg sees them. Raises whatever FFmpeg and PyAV do."""
    whitelist = {"format_whitelist": CONTAINERS}
    return av.open(io.BytesIO(data), "r", options=whitelist, metadata_errors="replace")


def _by_libsndfile(data: bytes, name: str) -> Sound | None:
    """None when libsndfile does not know the format, or cannot tell how long the sound is."""
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.SoundFileError:
        return None
    with file:
        claimed = file.frames
        if claimed == np.iinfo(np.int64).max:
            return None
        _refuse_at_sight(claimed, file.channels, file.samplerate, name)
        try:
            wave = file.read(dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            raise BadFile(name, "damaged or cut off") from None
        _refuse_short(len(wave), claimed, name)
        return Sound(np.ascontiguousarray(wave.T), file.samplerate)


def _by_ffmpeg(data: bytes, name: str) -> Sound:
    try:
        container = opened(data)
    except Exception:  # FFmpeg has an error for everything, and PyAV adds its own
        raise BadFile(name, "not sound, or damaged at its start") from None
    with container:
        if not container.streams.audio:
            raise BadFile(name, "no sound in it")
        try:
            return _streamed(container, name)
        except BadFile:
            raise
        except Exception as error:  # decoders raise almost anything on damaged files
            raise BadFile(name, f"damaged: {type(error).__name__}") from None


def _streamed(container: InputContainer, name: str) -> Sound:
    """The first stream of sound, as long as the container says where it says so exactly."""
    seconds, rate, held = _seconds(container), 0, 0
    parts: list[Wave] = []
    for wave, frame_rate in _frames(container):
        if not parts:
            _refuse_at_sight(max(round(seconds * frame_rate), 1), len(wave), frame_rate, name)
            rate = frame_rate
        elif (len(wave), frame_rate) != (len(parts[0]), rate):
            raise BadFile(name, "changes its channels or its sample rate midway")
        parts.append(wave)
        held += wave.size
        if held > MOST_VALUES:
            raise BadFile(name, f"holds more than {MOST_VALUES} values")
    claimed = round(seconds * rate)
    wave = np.concatenate(parts, 1) if parts else np.zeros((1, 0), np.float32)
    _refuse_short(wave.shape[1] + round(_SLACK * rate), claimed, name)
    if not wave.size:
        raise BadFile(name, "no samples")
    exact = "mov" in container.format.name and claimed  # its codecs pad the last frame
    return Sound(np.ascontiguousarray(wave[:, :claimed]) if exact else wave, rate)


def _seconds(container: InputContainer) -> float:
    """What the container claims, 0 when it does not tell or guesses from the size of the file."""
    if not container.format.name.startswith(_TIMED):
        return 0.0
    stream = container.streams.audio[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _frames(container: InputContainer) -> Iterator[tuple[Wave, int]]:
    """The decoded pieces [c s] and their sample rates."""
    to_float, kind = None, None
    for frame in container.decode(container.streams.audio[0]):
        if to_float is None or kind != (frame.layout.name, frame.sample_rate, frame.format.name):
            to_float = av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.sample_rate)
            kind = (frame.layout.name, frame.sample_rate, frame.format.name)
        for piece in to_float.resample(frame):
            yield piece.to_ndarray(), frame.sample_rate


def _refuse_at_sight(samples: int, channels: int, rate: int, name: str) -> None:
    if samples * channels > MOST_VALUES:
        raise BadFile(name, f"claims {samples * channels} values, more than the limit of {MOST_VALUES}")
    if not 1 <= rate <= MOST_HERTZ:
        raise BadFile(name, f"claims {rate} samples a second, expected 1 to {MOST_HERTZ}")
    if samples < 1:
        raise BadFile(name, "no samples")


def _refuse_short(there: int, claimed: int, name: str) -> None:
    if there < claimed:
        raise BadFile(name, f"cut off: {there} of {claimed} samples are there")
