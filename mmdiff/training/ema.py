"""The moving average of the weights: in float32, over the trainable parameters only, saved bit for bit.

``shadow <- d * shadow + (1 - d) * weights`` after every step.  The decay grows with the number of updates,
``d = min(longest, (1 + n) / (10 + n))``, so that the average of a short run is not one with the random
initial weights.  (Karras et al., 2024, arXiv:2312.02696, section 3, on why the length matters.)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages the trainable parameters of one module; the module's parameters must stay the same objects.

    Args:
        module: what is averaged; its current parameters are the first value of the average.
        longest: the decay that the warm-up ends at, in [0, 1).
    """

    def __init__(self, module: nn.Module, longest: float) -> None:
        self.longest = longest
        self.updates = 0
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._shadow = {name: p.detach().to(torch.float32, copy=True) for name, p in self._live.items()}

    @property
    def shadow(self) -> Mapping[str, Tensor]:
        """The average by parameter name."""
        return self._shadow

    @property
    def decay(self) -> float:
        """The decay that the next update uses."""
        return min(self.longest, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the parameters as they are now."""
        live = [p.detach() for p in self._live.values()]
        # One fused pass: a Python loop over the tensors costs two to three times as much.
        torch._foreach_lerp_(list(self._shadow.values()), live, 1 - self.decay)
        self.updates += 1

    def follow(self) -> None:
        """Moves the average to where the parameters are, after these were moved to a device."""
        self._shadow = {name: self._shadow[name].to(p.device) for name, p in self._live.items()}

    @torch.no_grad()
    def load(self, shadow: Mapping[str, Tensor], updates: int) -> None:
        """Takes over a saved average; other entries (buffers, frozen parameters) are not used."""
        for name, mine in self._shadow.items():
            mine.copy_(shadow[name])
        self.updates = updates

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the parameters are the average; afterwards they are as before, bit for bit.

        Storage is exchanged, so nothing is copied and an exception inside leaves nothing mixed up.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self._live.items():
            parameter.data, self._shadow[name] = self._shadow[name], parameter.data
