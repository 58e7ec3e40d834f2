"""All conditions of a run as one module."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Value
from mmdiff.conditions.encoded import Encoded, lengths
from mmdiff.conditions.label import Label
from mmdiff.conditions.number import Number
from mmdiff.conditions.style import Style
from mmdiff.conditions.text import Text
from mmdiff.errors import UserError
from mmdiff.nets.condition import Condition
from mmdiff.recipe import ConditionSpec


class Conditions(nn.Module):
    """Encodes named raw values; vectors are added, tokens follow each other.

    Conditions of the kinds in ``ALIGNED`` have no part here: they run along with the sample, as channels.

    Without any conditioner it still gives a ``Condition`` of zeros, so that the network has one form.
    """

    origin: Tensor

    def __init__(self, specs: Mapping[str, ConditionSpec], width: int = 256, styles: int = 0) -> None:
        """``styles`` is how many numbers the modality measures of a reference; 0 where nothing is lent."""
        super().__init__()
        for name in specs:
            if hasattr(nn.ModuleDict(), name):  # which holds the parts by these names
                raise UserError(f"conditions: none can be called {name!r}; expected another plain word")
        self.width, self.styles = width, styles
        self.register_buffer("origin", torch.zeros(width), persistent=False)
        self.parts = nn.ModuleDict(
            {
                name: CONDITIONERS[spec.kind](name, spec, self)
                for name, spec in specs.items()
                if spec.kind not in ALIGNED
            }
        )

    @property
    def token_width(self) -> int:
        """Width of the tokens, 0 when no conditioner gives any."""
        return max((part.token_width for part in self.each().values()), default=0)

    def each(self) -> dict[str, Conditioner]:
        """The conditioners by name."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Conditioner)}

    def ids(self, raw: Mapping[str, Value | None]) -> dict[str, Tensor]:
        """Returns the numbers of one sample's values; one that is None or missing gives zeros."""
        return {name: part.ids(raw.get(name)) for name, part in self.each().items()}

    def present(self, raw: Mapping[str, Value | None]) -> dict[str, Bool[Tensor, ""]]:
        """Returns which of the conditions one sample has."""
        return {name: torch.tensor(raw.get(name) is not None) for name in self.parts}

    def forward(self, ids: Mapping[str, Tensor], present: Mapping[str, Tensor], rows: int) -> Condition:
        """Encodes a batch of ``rows``; where ``present`` is False the learned null stands in."""
        found = [part(ids[name], present[name]) for name, part in self.each().items()]
        vector = sum((part.vector for part in found), self.origin.expand(rows, -1))
        tokens = [part.tokens for part in found if part.tokens is not None]
        masks = [part.mask for part in found if part.mask is not None]
        if not tokens or not masks:
            return Condition(
                vector, vector.new_zeros(rows, 0, self.width), vector.new_zeros(rows, 0, dtype=torch.bool)
            )
        return Condition(vector, torch.cat(tokens, 1), torch.cat(masks, 1))


def text(name: str, spec: ConditionSpec, among: Conditions) -> Conditioner:
    if spec.encoder == "bytes":
        return Text(among.width, spec.tokens)
    try:
        least, most = lengths(spec.encoder)
        made = Encoded(spec.encoder, among.width, spec.tokens)
    except UserError as error:
        raise UserError(f"conditions.{name}.encoder: {error}") from error
    if spec.tokens < least or (most is not None and spec.tokens > most):
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise UserError(
            f"conditions.{name}.tokens: got {spec.tokens}, expected {expected} for {spec.encoder!r}"
        )
    return made


def label(name: str, spec: ConditionSpec, among: Conditions) -> Label:
    if not spec.values:
        raise UserError(f"conditions.{name}.values is empty: a label needs the names it can take")
    return Label(name, spec.values, among.width)


def number(name: str, spec: ConditionSpec, among: Conditions) -> Number:
    assert spec.low is not None
    assert spec.high is not None
    return Number(name, spec.low, spec.high, among.width)


def style(name: str, spec: ConditionSpec, among: Conditions) -> Style:
    return Style(name, among.styles, among.width)


CONDITIONERS: dict[str, Callable[[str, ConditionSpec, Conditions], Conditioner]] = {
    "text": text,
    "label": label,
    "number": number,
    "style": style,
}
ALIGNED = frozenset({"envelope"})
