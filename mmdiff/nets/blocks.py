"""The residual block, the only place where convolutions, conditions and attention meet."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmdiff.nets.attention import Attention
from mmdiff.nets.axes import per_channel
from mmdiff.nets.conv import Conv


def standardised(x: Float[Tensor, "b *axes"]) -> Float[Tensor, "b *axes"]:
    """Gives each sample mean 0 and variance 1.

    As rows and not as maps: of maps the compiler writes the gradient across their memory, number by number.
    """
    flat = x.flatten(1)
    return F.layer_norm(flat, flat.shape[1:]).reshape(x.shape)


def norm(x: Float[Tensor, "b c *axes"], valid: Tensor | None) -> Float[Tensor, "b c *axes"]:
    """Standardises each sample over its channels and valid places, without parameters.

    One mean and one variance a sample keep what differs between places, above all how bright each is; norms
    of single places lose that, and the loss fell half as fast.  In channels_last memory it is one fused pass.
    """
    last = x.movedim(1, -1)
    if valid is None:
        return standardised(last).movedim(-1, 1)
    last = last.to(torch.promote_types(x.dtype, torch.float32))
    inside = valid.movedim(1, -1).expand(len(x), *last.shape[1:-1], 1).to(last)
    axes = tuple(range(1, last.ndim))
    count = inside.sum(axes, keepdim=True) * last.shape[-1]
    centred = last - (last * inside).sum(axes, keepdim=True) / count
    variance = (centred * inside).square().sum(axes, keepdim=True) / count
    return (centred * torch.rsqrt(variance + 1e-5)).to(x.dtype).movedim(-1, 1)


class Clips(NamedTuple):
    """How frames that follow each other in the batch make clips."""

    frames: int  # of each clip
    clock: Float[Tensor, "*b f"] | None  # seconds from the start to each frame, of all clips or of each
    held: Bool[Tensor, "b f"] | None  # which frames hold data; None when all do
    moving: Bool[Tensor, " b"] | None  # None when all are


class Context(NamedTuple):
    """What a block sees beside its input; a row is a sample, of a clip a frame."""

    embedding: Float[Tensor, "b d"]  # of the noise and the condition
    tokens: Float[Tensor, "b n e"] | None  # of the condition
    seen: Bool[Tensor, "b n"] | None  # which tokens count
    valid: Float[Tensor, "#b 1 *axes"] | None  # 1 inside, 0 on padding; None when nothing is padded
    patterns: Float[Tensor, "#b w *axes"]  # what Place adds, in some shares
    times: Float[Tensor, " l"] | None  # seconds from the start of a series to each position
    clips: Clips | None = None  # how rows are frames of clips

    def keys(self, x: Float[Tensor, "b c *axes"]) -> Bool[Tensor, "b 1 1 m"] | None:
        """Returns which keys attention may see, positions before tokens; None when all count."""
        if self.seen is None and self.valid is None:
            return None
        places = (
            torch.ones_like(x[:, :1]) if self.valid is None else self.valid.expand(len(x), 1, *x.shape[2:])
        )
        mask = places.flatten(2) > 0
        if self.seen is not None:
            mask = torch.cat([mask, self.seen[:, None]], dim=2)
        return mask[:, None]


class Block(nn.Module):
    """``x + conv(silu(modulate(conv(silu(norm(x))))))``, then attention; the embedding modulates per channel.

    The second convolution starts at zero, so a new block is its own shortcut.  There is one norm a block: a
    second one before the modulation cost a tenth of the step and did not lower the loss.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        rank: int,
        attention: bool,
        token_width: int = 0,
    ) -> None:
        super().__init__()
        self.enter = Conv(rank, inputs, outputs)
        self.leave = Conv(rank, outputs, outputs)
        self.modulate = nn.Linear(embedding, 2 * outputs)
        self.shortcut = Conv(rank, inputs, outputs, size=1) if inputs != outputs else None
        self.attention = Attention(outputs, token_width) if attention else None
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Float[Tensor, "b c *axes"], context: Context) -> Float[Tensor, "b e *axes"]:
        scale, shift = self.modulate(context.embedding).chunk(2, dim=1)
        h = self.enter(masked(F.silu(norm(x, context.valid)), context.valid))
        h = F.silu(torch.addcmul(per_channel(shift, h), h, per_channel(1 + scale, h)))
        h = self.leave(masked(h, context.valid))
        x = h + (x if self.shortcut is None else self.shortcut(x))
        if self.attention is not None:
            seen = norm(x, context.valid)
            x = x + self.attention(seen, context.tokens, context.keys(x), context.times)
        return x


def masked(x: Tensor, valid: Tensor | None) -> Tensor:
    """Sets padding to zero, which is what a convolution sees beyond the border."""
    return x if valid is None else x * valid.to(x.dtype)
