"""Sound files written: WAV, FLAC, Ogg Vorbis and MP3, exact to the sample, with provenance inside.

What libsndfile reads back of a WAV, FLAC, OGG or MP3 file has the length that was written, from one sample
up. FFmpeg agrees for WAV and FLAC, and from a few dozen samples on for MP3; of an OGG whose sound fits into
one page (some 4 KB: a second) it gives whole blocks, up to 255 samples more or 128 fewer.
"""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from jaxtyping import Float
from torch import Tensor

from mmdiff import files
from mmdiff.data.sounds import opened
from mmdiff.errors import UserError

_BLOCK = 2**15  # samples a call: libsndfile's Vorbis encoder keeps a call's samples on the stack
_BITS = {"PCM_16": 16, "PCM_24": 24}


class _Format(NamedTuple):
    """How libsndfile writes a kind of file; the first subtype is the default."""

    name: str
    subtypes: tuple[str, ...]
    channels: int = 1024  # libsndfile's own limit
    rates: tuple[int, ...] = ()  # all that are allowed, when it is so few
    fastest: int = 655_350  # Hz, FLAC's limit
    options: Mapping[str, Any] = {}


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # ISO 11172-3, 13818-3 and 2.5
_BEST_MP3 = {"compression_level": 0.0, "bitrate_mode": "VARIABLE"}  # V0
FORMATS = {
    ".wav": _Format("WAV", ("PCM_16", "PCM_24", "FLOAT"), fastest=2**31 - 1),
    ".flac": _Format("FLAC", ("PCM_16", "PCM_24"), channels=8),
    # libvorbis crashes above 200 kHz. Level 0.2 is its quality 8: 256 kbit/s for stereo at 44.1 kHz.
    ".ogg": _Format("OGG", ("VORBIS",), 255, fastest=200_000, options={"compression_level": 0.2}),
    ".mp3": _Format("MP3", ("MPEG_LAYER_III",), 2, _MPEG_RATES, options=_BEST_MP3),
}


def encoded(
    wave: Float[Tensor, "c s"],
    sample_rate: int,
    suffix: str = ".wav",
    subtype: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    name: str = "sound",
) -> bytes:
    """The bytes of a WAV (PCM_16, PCM_24, FLOAT), FLAC (PCM_16, PCM_24), Ogg Vorbis (quality 8) or MP3 (V0).

    Integer samples are rounded to the nearest; whatever lies beyond full scale is clipped, with a warning
    that says how much of it there was. The provenance is JSON in the comment of the file.

    Args:
        subtype: the first of the format's when not given.
        name: of the request, for messages.

    Raises:
        UserError: the format does not exist, or cannot hold such a sound.
        ValueError: the wave has no samples, or numbers that are not finite.
    """
    kind = _format(suffix, subtype, wave.shape[0], sample_rate)
    wave = wave.detach().float().cpu()
    if not wave.numel():
        raise ValueError(f"{name} has no samples")
    if not bool(wave.isfinite().all()):
        raise ValueError(f"{name} holds numbers that are not finite, expected a sound in [-1, 1]")
    subtype = subtype or kind.subtypes[0]
    text = None if provenance is None else json.dumps(dict(provenance), sort_keys=True)  # ASCII
    samples = _quantised(wave if subtype == "FLOAT" else clipped(wave, name), subtype)
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", sample_rate, len(wave), subtype, format=kind.name, **kind.options
    ) as file:
        if text is not None and kind.name in {"FLAC", "OGG"}:
            file.comment = text
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])
    data = buffer.getvalue()
    return data if text is None else _TAGGED.get(kind.name, lambda data, _: data)(data, text.encode("ascii"))


def write(
    wave: Float[Tensor, "c s"],
    sample_rate: int,
    path: str | Path,
    subtype: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a file of the kind that its extension says, whole or not at all; raises as ``encoded`` does."""
    path = Path(path)
    files.write_bytes(path, encoded(wave, sample_rate, path.suffix, subtype, provenance, path.name))


def read_provenance(path: str | Path | bytes) -> dict[str, Any] | None:
    """What ``write`` embedded in a file, or None when there is no provenance of ours.

    Args:
        path: the file, or its bytes.

    Raises:
        UserError: it is no sound file.
    """
    try:
        with opened(path if isinstance(path, bytes) else Path(path).read_bytes()) as container:
            tags = [container.metadata, *(stream.metadata for stream in container.streams.audio)]
    except Exception as error:  # FFmpeg has an error for everything, and PyAV adds its own
        name = "the sound" if isinstance(path, bytes) else path
        raise UserError(f"{name} cannot be read as a sound: {error}") from None
    comments = [value for tag in tags for key, value in tag.items() if key.lower() == "comment"]
    try:
        found = json.loads(comments[0]) if comments else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def clipped(wave: Float[Tensor, "c s"], name: str = "sound") -> Float[Tensor, "c s"]:
    """The wave clamped to [-1, 1]; warns of the share of its samples that this changes."""
    share = float((wave.abs() > 1).double().mean())
    if share:
        warnings.warn(
            f"{name}: {share:.2%} of the samples lie beyond full scale and are clipped", stacklevel=2
        )
    return wave.clamp(-1, 1)


def _format(suffix: str, subtype: str | None, channels: int, rate: int) -> _Format:
    kind = FORMATS.get(suffix.lower())
    if kind is None:
        raise UserError(f"cannot write sound as {suffix!r}; expected one of {', '.join(FORMATS)}")
    if subtype not in {None, *kind.subtypes}:
        raise UserError(f"{kind.name} has no subtype {subtype!r}; expected one of {', '.join(kind.subtypes)}")
    if not 1 <= channels <= kind.channels:
        raise UserError(f"{kind.name} holds 1 to {kind.channels} channels, got {channels}; write a WAV")
    if rate not in (kind.rates or range(1, kind.fastest + 1)):
        rates = ", ".join(map(str, kind.rates)) or f"1 to {kind.fastest}"
        raise UserError(f"{kind.name} holds sample rates of {rates} Hz, got {rate}; write a WAV")
    return kind


def _quantised(wave: Float[Tensor, "c s"], subtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Samples as libsndfile takes them, [s c]; integers lie in the upper bits of theirs.

    The step is 2^-15 (2^-23), by which readers divide, so that whatever was read is written back the same.
    """
    bits = _BITS.get(subtype)
    if bits is None:
        return wave.T.contiguous().numpy()
    full = 2 ** (bits - 1)
    steps = (wave.T.double() * full).round().clamp(-full, full - 1).numpy()
    return steps.astype(np.int16) if bits == 16 else steps.astype(np.int32) << (32 - bits)


def _riff_tagged(data: bytes, text: bytes) -> bytes:
    """A WAV with a LIST chunk after the samples; libsndfile's own drops a comment of more than a few KB."""
    entry = b"INFOICMT" + (len(text) + 1).to_bytes(4, "little") + text + b"\0"
    entry += bytes(len(entry) % 2)
    data += bytes(len(data) % 2) + b"LIST" + len(entry).to_bytes(4, "little") + entry
    return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]


def _id3_tagged(data: bytes, text: bytes) -> bytes:
    """An MP3 with an ID3v2.3 tag of one comment frame before it, which libsndfile does not write."""
    body = b"\0eng\0" + text  # Latin-1, language, an empty description
    frame = b"COMM" + len(body).to_bytes(4, "big") + bytes(2) + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame + data


_TAGGED = {"WAV": _riff_tagged, "MP3": _id3_tagged}
