"""Attention of a feature map to itself and to the tokens of a condition, in one softmax."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

HEAD = 64  # narrower heads starve the matrix units: heads of 8 cost a third of a training step


class Attention(nn.Module):
    """Every position attends to all positions and, when given, to the condition's tokens; adds zero at birth.

    Queries and keys have unit root mean square, which bounds the logits (Henry et al., 2020,
    arXiv:2010.04245).
    """

    def __init__(self, width: int, token_width: int = 0) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % heads == 0)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.tokens = nn.Linear(token_width, 2 * width, bias=False) if token_width else None
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``[b n parts*d] -> parts`` tensors ``[b heads n d/heads]``."""
        return x.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(
        self,
        x: Float[Tensor, "b c *axes"],
        tokens: Float[Tensor, "b n e"] | None = None,
        mask: Bool[Tensor, "b 1 1 m"] | None = None,
        times: Float[Tensor, "*b l"] | None = None,
    ) -> Float[Tensor, "b c *axes"]:
        """``mask`` is True for the keys that may be seen: the positions first, then the tokens.

        With ``times``, in seconds, of all rows or each, what positions see of each other depends on how far
        apart they are, and what they see of the tokens on no time at all.
        """
        flat = x.flatten(2).transpose(1, 2)
        q, k, v = self.split(self.qkv(flat), 3)
        q, k = norm(q), norm(k)
        if times is not None:
            q, k = turned(q, times), turned(k, times)
        if self.tokens is not None and tokens is not None:
            token_k, token_v = self.split(self.tokens(tokens), 2)
            token_k = norm(token_k) if times is None else timeless(norm(token_k))
            k, v = torch.cat([k, token_k], dim=2), torch.cat([v, token_v], dim=2)
        mixed = attend(q, k, v, mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out.transpose(1, 2).unflatten(2, x.shape[2:])


def norm(x: Tensor) -> Tensor:
    """Gives each head's vector unit variance."""
    return F.layer_norm(x, x.shape[-1:])


PERIODS = (0.02, 60.0)  # seconds: of the fastest and of the slowest turn


def turned(x: Float[Tensor, "b heads n d"], times: Float[Tensor, "*b n"]) -> Float[Tensor, "b heads n d"]:
    """Turns pairs of the first half of the features by an angle in proportion to the time.

    Products of turned vectors depend on differences of times alone (Su et al., 2021, arXiv:2104.09864).
    Periods are spread geometrically.
    """
    pairs = x.shape[-1] // 4
    fast, slow = (math.log(2 * math.pi / period) for period in PERIODS)
    phase = times[..., None, :, None].float() * torch.linspace(fast, slow, pairs, device=x.device).exp()
    cos, sin = phase.cos().to(x.dtype), phase.sin().to(x.dtype)
    one, two, rest = x.split([pairs, pairs, x.shape[-1] - 2 * pairs], dim=-1)
    return torch.cat([one * cos - two * sin, one * sin + two * cos, rest], -1)


def timeless(x: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b heads n d"]:
    """Keeps the features that are never turned, for keys that have no time."""
    still = torch.arange(x.shape[-1], device=x.device) >= x.shape[-1] // 4 * 2
    return x * still


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention; ``mask`` is True where a key may be seen.

    On a CPU the fused kernel is three to seven times slower than two matrix products for a few hundred keys,
    forward and backward, because it blocks for long sequences.
    """
    if q.device.type != "cpu" or k.shape[2] > 512:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return logits.softmax(-1) @ v
