"""Whether a picture file is whole, as far as its container tells; decoders are too forgiving to be asked.

A file that was cut off or damaged often still decodes, to a picture with a grey or scrambled part that nobody
sees before it is trained on.
"""

import re
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
# Inside the pixel data of a JPEG, 0xff is followed by 0 (a plain 0xff), a restart marker or fill bytes.
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_JPEG_START, _JPEG_END = b"\xd8", b"\xd9"


def fault(data: bytes) -> str:
    """One short phrase, or "" when the file is whole or of a format that its decoder checks."""
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        return "cut off"
    return ""


def _png(data: bytes) -> str:
    """Every chunk is there up to IEND, and its checksum is right (PNG 1.2, section 3.2)."""
    at = len(_PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + size
        kind, check = data[at + 4 : at + 8], data[end : end + 4]
        if len(check) < 4:
            break
        # Chunks with a small first letter may be passed over, but transparency changes what is seen
        seen = kind[:1].isupper() or kind == b"tRNS"
        if seen and zlib.crc32(data[at + 4 : end]) != int.from_bytes(check, "big"):
            return "damaged: a checksum is wrong"
        if kind == b"IEND":
            return ""
        at = end + 4
    return "cut off"


def _jpeg(data: bytes) -> str:
    """The markers lead to the one that ends the picture (ITU-T T.81, annex B)."""
    at = 0
    while match := _JPEG_MARKER.search(data, at):
        marker, at = match[0][-1:], match.end()
        if marker == _JPEG_END:
            return ""
        if marker != _JPEG_START:  # a segment with its length; the pixels that may follow are searched
            at += int.from_bytes(data[at : at + 2], "big")
    return "cut off"
