"""Whether a sound file is whole, as far as its container tells; decoders give what is there and say nothing.

Files written to a pipe cannot know their length and say so with a size of all ones; they are whole.
"""

from collections.abc import Callable

_UNKNOWN = 0xFFFFFFFF  # the size that FFmpeg writes to a pipe; that of SoX is next to the largest signed one
_STREAMED = (_UNKNOWN, 0x7FFFF000)
_SAMPLES = (b"data", b"SSND", b"BODY")  # the chunk of the samples in WAV, AIFF and 8SVX
_LAST_PAGE = 4  # flag of an Ogg page: the last of its stream (RFC 3533, section 6)


def fault(data: bytes) -> str:
    """One short phrase, or "" when the file is whole or of a format that its decoder checks."""
    ends = [check(data) for magic, check in _CHECKS.items() if data[magic[0] :].startswith(magic[1])]
    return "" if all(end is None or end <= len(data) for end in ends) else "cut off"


def _riff(data: bytes) -> int | None:
    """Where the samples of a WAV or AIFF file should end; None when nothing tells."""
    order = "little" if data[:4] in (b"RIFF", b"RF64") else "big"
    at, long = 12, 0
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], _number(data, at + 4, 4, order)
        if kind == b"ds64":  # sizes of 64 bits (EBU Tech 3306)
            long = _number(data, at + 16, 8, order)
        if kind in _SAMPLES:
            size = long if size == _UNKNOWN and long else size
            return None if size in _STREAMED else at + 8 + size
        at += 8 + size + size % 2
    return None


def _au(data: bytes) -> int | None:
    start, size = _number(data, 4, 4, "big"), _number(data, 8, 4, "big")
    return None if size == _UNKNOWN else start + size


def _wave64(data: bytes) -> int | None:
    """Chunks have a name of 16 bytes and a size of 8 that counts the two, and start at multiples of 8."""
    at = 40
    while at + 24 <= len(data):
        size = _number(data, at + 16, 8, "little")
        if data[at : at + 4] == b"data":
            return at + size
        at += max(size + -size % 8, 24)
    return None


def _caf(data: bytes) -> int | None:
    at = 8
    while at + 12 <= len(data):
        size = _number(data, at + 4, 8, "big")
        if size >= 2**63:  # -1: to the end of the file
            return None
        if data[at : at + 4] == b"data":
            return at + 12 + size
        at += 12 + size
    return None


def _ogg(data: bytes) -> int | None:
    """The end of the last page; beyond the file when the page that ends the stream is missing."""
    at = data.rfind(b"OggS")
    segments = data[at + 27 : at + 27 + data[at + 26]] if at + 27 <= len(data) else b""
    if not segments or not data[at + 5] & _LAST_PAGE:
        return len(data) + 1
    return at + 27 + data[at + 26] + sum(segments)


def _mp3(data: bytes) -> int | None:
    """The end by the Xing header in the first frame, less a hundredth, for encoders that count otherwise."""
    start = _id3_size(data)
    at = max(data.find(mark, start, start + 64) for mark in (b"Xing", b"Info"))
    flags = _number(data, at + 4, 4, "big") if at >= 0 else 0
    if not flags & 2:
        return None
    return start + _number(data, at + 8 + 4 * (flags & 1), 4, "big") * 99 // 100


def _id3_size(data: bytes) -> int:
    """Bytes of the ID3v2 tag at the start; its size has 7 bits in a byte."""
    if not data.startswith(b"ID3") or len(data) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))


def _mp4(data: bytes) -> int | None:
    """The end of the outermost boxes."""
    at = 0
    while at + 8 <= len(data):
        size = _number(data, at, 4, "big")
        if size == 1:
            size = _number(data, at + 8, 8, "big")
        if size < 8:  # 0: to the end of the file; else bytes after the last box
            return None
        at += size
    return at


def _matroska(data: bytes) -> int | None:
    """The end of the segment, the second element (RFC 8794)."""
    size, at = _variable(data, 4)
    at += size
    if data[at : at + 4] != b"\x18\x53\x80\x67":
        return None
    size, at = _variable(data, at + 4)
    return None if size < 0 else at + size


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """A number whose first set bit gives its length, -1 when all its bits are set; and where it ends."""
    first = data[at] if at < len(data) else 0xFF
    length = 9 - first.bit_length()
    value = _number(data, at, length, "big") - (1 << 7 * length)
    return (-1 if value == (1 << 7 * length) - 1 else value), at + length


def _number(data: bytes, at: int, length: int, order: str) -> int:
    return int.from_bytes(data[at : at + length], "little" if order == "little" else "big")


# (where, magic) -> where the file should end
_CHECKS: dict[tuple[int, bytes], Callable[[bytes], int | None]] = {
    (8, b"WAVE"): _riff,
    (8, b"AIF"): _riff,
    (8, b"8SVX"): _riff,
    (0, b".snd"): _au,
    (0, b"riff"): _wave64,
    (0, b"caff"): _caf,
    (0, b"OggS"): _ogg,
    (0, b"ID3"): _mp3,
    (0, b"\xff"): _mp3,
    (4, b"ftyp"): _mp4,
    (0, b"\x1a\x45\xdf\xa3"): _matroska,
}
