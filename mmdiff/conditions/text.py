"""Text as hashed byte n-grams, learned with the model: no vocabulary, no download, any language.

A word is the set of its byte n-grams (Bojanowski et al., 2017, arXiv:1607.04606), its neighbour pair and, at
the head of the sequence, the caption as a whole; each is a row of one hashed table (as in Pagnoni et al.,
2024, arXiv:2412.09871).  Rows start at zero, so what was never seen in training adds nothing, and a seldom
caption can still become a row of its own.  The head of the sequence also holds the bag of all words, which
the network understands long before the small transformer has learned to mix them.
"""

import hashlib
import re
import unicodedata
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either
from mmdiff.nets.attention import Attention
from mmdiff.nets.conv import Conv

GRAMS = 24  # rows a word may use; longer words keep their first n-grams
LENGTHS = (3, 4, 5)  # of the n-grams, in bytes
GAIN = 64.0  # a row is seldom in a batch, so its steps must count (4 gave a retrieval of 0.13, 64 of 0.33)


def words(text: str) -> list[str]:
    """Splits a text into words: case, width variants and punctuation do not count, except a lone symbol."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"\w+|[^\w\s]", plain)


def row(kind: str, piece: bytes, rows: int) -> int:
    """Returns the table row of a piece, from 1; row 0 is padding."""
    digest = hashlib.blake2b(piece, digest_size=8, key=kind.encode()).digest()
    return 1 + int.from_bytes(digest, "little") % (rows - 1)


def grams(word: str, before: str, rows: int) -> list[int]:
    """Returns the rows of one word: itself, the pair with the word before, its n-grams with marked ends."""
    whole = word.encode()
    marked = b"<" + whole + b">"
    pieces = [marked[i : i + n] for n in LENGTHS for i in range(len(marked) - n + 1)]
    pair = before.encode() + b" " + whole
    found = [row("word", whole, rows), row("pair", pair, rows), *(row("gram", p, rows) for p in pieces)]
    return found[:GRAMS]


@lru_cache(maxsize=1 << 14)
def table_rows(text: str, tokens: int, rows: int) -> Int32[Tensor, "n g"]:
    """Returns the rows of a whole text.

    They are kept, because hashing a caption takes longer than reading its picture.
    """
    out = torch.zeros(1 + tokens, GRAMS, dtype=torch.int32)
    found = words(text)[:tokens]
    if found:
        out[0, 0] = row("caption", " ".join(found).encode(), rows)
    for place, word in enumerate(found, start=1):
        chosen = grams(word, found[place - 2] if place > 1 else "", rows)
        out[place, : len(chosen)] = torch.tensor(chosen)
    return out


def each(x: Float[Tensor, "b d n"]) -> Float[Tensor, "b d n"]:
    """Standardises each token."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


class Mixer(nn.Module):
    """One pre-norm transformer layer over ``[b d n]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.hidden = Conv(1, width, 2 * width, size=1)
        self.out = Conv(1, 2 * width, width, size=1)

    def forward(self, x: Float[Tensor, "b d n"], seen: Bool[Tensor, "b 1 1 n"]) -> Float[Tensor, "b d n"]:
        x = x + self.attention(each(x), mask=seen)
        mixed: Tensor = x + self.out(F.silu(self.hidden(each(x))))
        return mixed


class Text(Conditioner):
    """Encodes a text to one vector and one token a word.

    Args:
        width: of the vector and the tokens.
        tokens: words kept, further ones are dropped.
        rows: of the hashed table; 16,384 leaves about one collision in six for 3,000 distinct pieces.
    """

    positions: Tensor

    def __init__(self, width: int = 256, tokens: int = 16, rows: int = 16384, layers: int = 2) -> None:
        super().__init__()
        self.tokens, self.rows, self.token_width = tokens, rows, width
        self.table = nn.EmbeddingBag(rows, width, mode="sum", padding_idx=0)
        nn.init.zeros_(self.table.weight)
        self.place = nn.Parameter(torch.randn(1 + tokens, width) * 0.1)
        self.null = nn.Parameter(torch.randn(1 + tokens, width) * 0.1)
        self.mixers = nn.ModuleList(Mixer(width) for _ in range(layers))

    def ids(self, value: str | None) -> Int64[Tensor, "n g"]:
        """Returns table rows of the caption (first) and of its words, zeros beyond; None gives zeros only."""
        return table_rows(value or "", self.tokens, self.rows).long()

    def forward(self, ids: Int64[Tensor, "b n g"], present: Bool[Tensor, " b"]) -> Part:
        """Where ``present`` is False the learned null stands in for the text."""
        x = GAIN * self.table(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
        count = (ids != 0).sum(2, keepdim=True)
        x = x / count.clamp(min=1).sqrt()
        many = (count[:, 1:] > 0).sum(1, keepdim=True)
        bag = x[:, 1:].sum(1, keepdim=True) / many.clamp(min=1).sqrt()
        x = torch.cat([x[:, :1] + bag, x[:, 1:]], dim=1) + self.place
        x = either(present, x, self.null)
        seen = (count[..., 0] > 0) & present[:, None]
        seen = seen | (torch.arange(seen.shape[1], device=seen.device) == 0)
        x = x.transpose(1, 2)
        for mixer in self.mixers:
            x = mixer(x, seen[:, None, None])
        x = each(x).transpose(1, 2)
        return Part(x[:, 0], x, seen)
