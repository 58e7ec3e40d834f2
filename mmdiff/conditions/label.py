"""One of a few known names, such as an art style or an instrument."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either
from mmdiff.errors import UserError
from mmdiff.naming import suggestion


class Label(Conditioner):
    """Gives each of ``values`` a learned vector."""

    def __init__(self, name: str, values: Sequence[str], width: int = 256) -> None:
        super().__init__()
        self.name, self.values = name, tuple(values)
        self.table = nn.Embedding(len(self.values), width)
        self.null = nn.Parameter(torch.randn(width) * 0.1)

    def ids(self, value: str | None) -> Int64[Tensor, ""]:
        """Returns the place of the value, 0 for None.

        Raises:
            UserError: for a name that is not one of the values.
        """
        if value is None:
            return torch.tensor(0)
        if value not in self.values:
            raise UserError(f"condition {self.name!r} has no value {value!r}{suggestion(value, self.values)}")
        return torch.tensor(self.values.index(value))

    def forward(self, ids: Int64[Tensor, " b"], present: Bool[Tensor, " b"]) -> Part:
        return Part(either(present, self.table(ids), self.null))
