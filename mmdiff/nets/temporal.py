"""Layers along time, which make a net of pictures one of clips.

They add zero at birth, so a net of clips that has the weights of a net of pictures gives, frame by frame,
what that one gives (Singer et al., 2022, "Make-A-Video", arXiv:2209.14792, section 3.2).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mmdiff.nets.attention import Attention
from mmdiff.nets.blocks import Clips, Context, norm


class Temporal(nn.Module):
    """A convolution over three frames and attention over all, at each place by itself, added to the input.

    Positions are in seconds, so frame rates may mix.  Where a sample does not move, because its frames are
    pictures that have nothing to do with each other, both do nothing.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.enter = nn.Linear(3 * width, width, bias=False)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.leave = nn.Linear(width, width, bias=False)
        self.attention = Attention(width)
        for weight in (self.leave.weight, self.modulate.weight, self.modulate.bias):
            nn.init.zeros_(weight)

    def forward(self, x: Float[Tensor, "bf c h w"], context: Context) -> Float[Tensor, "bf c h w"]:
        clips = context.clips
        assert clips is not None, "a net of clips says how rows are frames"
        x = x.unflatten(0, (-1, clips.frames)).permute(0, 1, 3, 4, 2)
        moves = 1.0 if clips.moving is None else clips.moving.to(x.dtype).reshape(-1, 1, 1, 1, 1)
        scale, shift = self.modulate(context.embedding).reshape(*x.shape[:2], 1, 1, -1).chunk(2, dim=-1)
        mixed = self.enter(around(normed(x, clips)))
        x = x + moves * self.leave(F.silu(torch.addcmul(shift, mixed, 1 + scale)))
        x = x + moves * self.attend(normed(x, clips), clips)
        return x.permute(0, 1, 4, 2, 3).flatten(0, 1)

    def attend(self, x: Float[Tensor, "b f h w c"], clips: Clips) -> Float[Tensor, "b f h w c"]:
        """Attention at each place along its frames."""
        b, _, h, w, _ = x.shape
        mask = None if clips.held is None else clips.held.repeat_interleave(h * w, 0)[:, None, None]
        series = x.permute(0, 2, 3, 4, 1).flatten(0, 2)
        mixed = self.attention(series, mask=mask, times=clips.clock)
        return mixed.unflatten(0, (b, h, w)).permute(0, 4, 1, 2, 3)


def normed(x: Float[Tensor, "b f h w c"], clips: Clips) -> Float[Tensor, "b f h w c"]:
    """One mean and one variance a clip; frames that are padding are zero."""
    if clips.held is None:
        return F.layer_norm(x, x.shape[1:])
    held = clips.held[:, None, :, None, None].to(x.dtype)
    return (norm(x.movedim(-1, 1), held) * held).movedim(1, -1)


def around(x: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h w c3"]:
    """Each frame between the one before and the one after it, zeros beyond the ends."""
    padded = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1))
    return torch.cat([padded[:, :-2], x, padded[:, 2:]], dim=-1)
