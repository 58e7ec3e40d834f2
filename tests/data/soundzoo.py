"""Whole, odd and broken sound files, made in memory."""

import io
import struct

import av
import numpy as np
import soundfile

RATE = 16_000


def tone(samples: int = 8000, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    """A sine of half of full scale, float32 [1 s]."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate))[None].astype(np.float32)


def noise(samples: int = 8000, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (channels, samples)).astype(np.float32)


def saved(wave: np.ndarray, kind: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    """The bytes of a file that libsndfile writes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.T, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def muxed(wave: np.ndarray, kind: str, codec: str, rate: int = RATE, options: dict | None = None) -> bytes:
    """The bytes of a file that FFmpeg writes."""
    buffer = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[len(wave)]
    with av.open(buffer, "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        to_codec = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        pieces = [*to_codec.resample(frame), *to_codec.resample(None)]
        for piece in [*pieces, None]:
            container.mux(stream.encode(piece))
    return buffer.getvalue()


def wav(samples: bytes, bits: int = 16, code: int = 1, size: int | None = None, before: bytes = b"") -> bytes:
    """A mono WAV by its parts; `size` is what it claims to hold, `before` stands before the samples."""
    form = struct.pack("<HHIIHH", code, 1, RATE, RATE * bits // 8, bits // 8, bits)
    size = len(samples) if size is None else size
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + before
    body += b"data" + struct.pack("<I", size) + samples
    whole = 0xFFFFFFFF if size == 0xFFFFFFFF else len(body) - len(samples) + size
    return b"RIFF" + struct.pack("<I", whole) + body


def integers(wave: np.ndarray) -> bytes:
    """16-bit samples."""
    return np.round(wave * 32767).astype("<i2").tobytes()


def whole() -> dict[str, bytes]:
    """Good files of many formats: a tone with noise, 16 kHz unless the codec wants 48."""
    wave = tone() + noise()
    kinds = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"]
    files = {kind.lower(): saved(wave, kind, "PCM_16") for kind in kinds}
    return files | {
        "vorbis.ogg": saved(wave, "OGG", "VORBIS"),
        "opus.ogg": saved(wave, "OGG", "OPUS"),
        "libsndfile.mp3": saved(wave, "MP3"),
        "ffmpeg.mp3": muxed(wave, "mp3", "libmp3lame"),
        "aac.m4a": muxed(wave, "ipod", "aac"),
        "fragments.m4a": muxed(wave, "ipod", "aac", options={"movflags": "frag_keyframe+delay_moov"}),
        "alac.m4a": muxed(wave, "ipod", "alac"),
        "opus.webm": muxed(wave, "webm", "libopus", 48_000),
        "flac.mka": muxed(wave, "matroska", "flac"),
        "streamed.mka": muxed(wave, "matroska", "flac", options={"live": "1"}),
        "streamed.wav": wav(integers(wave), size=0xFFFFFFFF),
        "sox_pipe.wav": wav(integers(wave), size=0x7FFFF000),
    }


def odd() -> dict[str, bytes]:
    """Good files that are seldom: silence, few and many bits and channels, one sample, another rate."""
    return {
        "silent.wav": saved(np.zeros((1, 8000), np.float32), "WAV"),
        "8_bits.wav": saved(tone(), "WAV", "PCM_U8"),
        "24_bits.wav": saved(tone(), "WAV", "PCM_24"),
        "too_loud.wav": saved(3 * tone(), "WAV", "FLOAT"),
        "six_channels.wav": saved(noise(channels=6), "WAV"),
        "one_sample.wav": saved(tone(1), "WAV"),
        "44100.wav": saved(tone(rate=44_100), "WAV", rate=44_100),
    }


def file_name(name: str) -> str:
    """A name of the zoo with an extension that its kind of file has."""
    kind = {"wavex": "wav", "rf64": "wav"}.get(name.split()[-1], name.split()[-1])
    whole = name.replace(" ", "_")
    return whole if "." in whole else f"{whole}.{kind}"


def broken() -> dict[str, bytes]:
    """Files that must be refused."""
    spoilt = {name: tone().copy() for name in ("nan", "inf")}
    spoilt["nan"][0, 10:20], spoilt["inf"][0, 7] = np.nan, -np.inf
    flac = bytearray(saved(noise(), "FLAC"))
    flac[len(flac) // 2] ^= 0x55
    silent_clip = io.BytesIO()
    with av.open(silent_clip, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 32
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode(None)])
    return {
        "empty.wav": b"",
        "page.wav": b"<!DOCTYPE html><html><body>404</body></html>",
        "text.mp3": b"this is not a sound\n" * 9,
        "playlist.m4a": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9.0,\nother.wav\n#EXT-X-ENDLIST\n",
        "header_only.flac": saved(noise(), "FLAC")[:20],
        "no_samples.wav": wav(b""),
        "promises_more.wav": wav(integers(tone(3000)), size=16_000),
        "damaged.flac": bytes(flac),
        "video.mp4": silent_clip.getvalue(),
        "nan.wav": saved(spoilt["nan"], "WAV", "FLOAT"),
        "inf.wav": saved(spoilt["inf"], "WAV", "FLOAT"),
        "inf.au": saved(spoilt["inf"], "AU", "DOUBLE"),
        **{
            f"cut {name}": data[: len(data) * 6 // 10]
            for name, data in whole().items()
            if "streamed" not in name and "pipe" not in name
        },
    }


def claiming(samples: int) -> bytes:
    """A FLAC whose header claims so many samples; 0 is what a pipe gets."""
    data = bytearray(saved(noise(), "FLAC"))
    total = int.from_bytes(data[21:26], "big") & 0xF0_0000_0000 | samples
    data[21:26] = total.to_bytes(5, "big")
    return bytes(data)
