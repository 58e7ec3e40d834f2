"""Layers along time, which make a net of pictures one of clips.

They add zero at birth, so a net of clips that has the weights of a net of pictures gives, frame by frame,
what that one gives (Singer et al., 2022, "Make-A-Video", arXiv:2209.14792, section 3.2).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mmdiff.nets.attention import Attention
from mmdiff.nets.axes import crop_to, grow, pad_to, shrink
from mmdiff.nets.blocks import Clips, Context, masked, norm, standardised
from mmdiff.nets.conv import Conv
from mmdiff.nets.embed import echoes, pattern_count

PLACES = (2, 3)  # axes of the maps


class Moment(nn.Module):
    """Tells the frames of clips how far they are from the first and from the last; changes nothing at birth.

    What moves is in another place each time, and which one is a product of the time and of what the caption
    says: what goes right is on the left first.  So times scale the embedding and shift it.
    """

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.shares = nn.Linear(pattern_count(1, timed=True), 2 * embedding, bias=False)
        nn.init.zeros_(self.shares.weight)

    def forward(self, embedding: Float[Tensor, "bf d"], clips: Clips) -> Float[Tensor, "bf d"]:
        """The embedding of each frame at its time."""
        assert clips.clock is not None, "frames that follow each other in time say when"
        count, last = len(embedding) // clips.frames, clips.clock[..., -1:].flatten()
        if clips.held is not None:
            last = clips.clock.expand(count, -1).gather(1, clips.held.sum(1, keepdim=True) - 1).flatten()
        times = echoes(clips.clock, last).transpose(1, 2).to(self.shares.weight)
        scale, shift = moved(self.shares(times).expand(count, -1, -1), clips).flatten(0, 1).chunk(2, dim=-1)
        return torch.addcmul(embedding + shift, embedding, scale)


class Temporal(nn.Module):
    """A convolution over three frames at each place and attention over all at every two by two, both added.

    Positions are in seconds, so frame rates may mix.  Where a sample does not move, because its frames are
    pictures that have nothing to do with each other, both do nothing.  Attention at every single place took
    more than a third of a training step and drew no better clips.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.enter = Conv(1, width, width, axis=2)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.leave = nn.Linear(width, width, bias=False)
        self.attention = Attention(width)
        for weight in (self.leave.weight, self.modulate.weight, self.modulate.bias):
            nn.init.zeros_(weight)

    def forward(self, x: Float[Tensor, "bf c h w"], context: Context) -> Float[Tensor, "bf c h w"]:
        clips = context.clips
        assert clips is not None, "a net of clips says how rows are frames"
        x = x.unflatten(0, (-1, clips.frames)).movedim(2, -1)
        scale, shift = self.modulate(context.embedding).reshape(*x.shape[:2], 1, 1, -1).chunk(2, dim=-1)
        mixed = self.enter(normed(x, context).flatten(2, 3).movedim(-1, 1))
        mixed = mixed.movedim(1, -1).unflatten(2, x.shape[2:4])
        x = x + moved(self.leave(F.silu(torch.addcmul(shift, mixed, 1 + scale))), clips)
        x = x + moved(self.attend(normed(x, context), clips), clips)
        return x.movedim(-1, 2).flatten(0, 1)

    def attend(self, x: Float[Tensor, "b f h w c"], clips: Clips) -> Float[Tensor, "b f h w c"]:
        """Attention of the means of two by two places along their frames; padding in ``x`` is zero."""
        maps = pad_to(x.flatten(0, 1).movedim(-1, 1), 2, PLACES)
        means = shrink(maps, PLACES).unflatten(0, x.shape[:2])
        series = means.permute(0, 3, 4, 2, 1)
        each = series.shape[1] * series.shape[2]
        mask = None if clips.held is None else clips.held.repeat_interleave(each, 0)[:, None, None]
        times = clips.clock
        if times is not None and times.ndim == 2:
            times = times.repeat_interleave(each, 0)
        mixed = self.attention(series.flatten(0, 2), mask=mask, times=times)
        found = grow(mixed.unflatten(0, series.shape[:3]).permute(0, 4, 3, 1, 2).flatten(0, 1), PLACES)
        return crop_to(found, x.shape[2:4], PLACES).movedim(1, -1).unflatten(0, x.shape[:2])


def moved(x: Float[Tensor, "b f *axes"], clips: Clips) -> Float[Tensor, "b f *axes"]:
    """Zero for samples that do not move."""
    return x if clips.moving is None else x * clips.moving.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))


def normed(x: Float[Tensor, "b f h w c"], context: Context) -> Float[Tensor, "b f h w c"]:
    """One mean and one variance a clip, of what holds data; what is padding, in time or place, is zero."""
    held = None if context.clips is None else context.clips.held
    if held is None and context.valid is None:
        return standardised(x)
    inside = x.new_ones(1, 1, 1, 1, 1) if held is None else held[:, None, :, None, None].to(x.dtype)
    if context.valid is not None:
        inside = inside * context.valid[:, :, None].to(x.dtype)
    return masked(norm(x.movedim(-1, 1), inside), inside).movedim(1, -1)
