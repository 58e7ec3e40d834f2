"""One U-Net for series, pictures and, with layers along time, clips.

Shape of the net: patches become channels, each level halves the resolution, the way up meets the way down in
a concatenation per level.  Sizes that do not divide are padded inside, masked and cropped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mmdiff.nets.axes import (
    coarser,
    crop_to,
    framed,
    grow,
    inside,
    pad_to,
    patchify,
    raised,
    shrink,
    unframed,
    unpatchify,
)
from mmdiff.nets.blocks import Block, Clips, Context, masked, norm
from mmdiff.nets.condition import Condition
from mmdiff.nets.conv import Conv
from mmdiff.nets.embed import Angle, Place, echoes, pattern_count, waves
from mmdiff.nets.temporal import Moment, Temporal


@dataclass(frozen=True)
class Shape:
    """The dimensions of a U-Net; level ``i`` has ``width * mults[i]`` channels."""

    patch: int
    width: int
    mults: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]

    @property
    def multiple(self) -> int:
        """What sizes are padded to."""
        return self.patch * 2 ** (len(self.mults) - 1)

    @property
    def embedding(self) -> int:
        """Width of the vector that modulates every block."""
        return 4 * self.width


SIZES = {
    "tiny": Shape(patch=2, width=32, mults=(1, 2), blocks=1, attention=(1,)),
    "small": Shape(patch=2, width=96, mults=(1, 2, 2), blocks=1, attention=(2,)),
    "base": Shape(patch=2, width=160, mults=(1, 2), blocks=2, attention=(1,)),
    "large": Shape(patch=2, width=256, mults=(1, 2, 2), blocks=3, attention=(1, 2)),
}


class UNet(nn.Module):
    """Maps a noisy sample, its noise angle and a condition to a tensor of the sample's shape; zero at birth.

    Args:
        channels: of the sample.
        axes: the axes of ``[b c *axes]`` that convolutions and attention run along: (2,) of series, (2, 3) of
            pictures, or (3, 4), those of the frames of clips, which then have layers along time too.
        shape: dimensions of the net.
        vector: width of ``Condition.vector``; 0 for a net without condition.
        tokens: width of ``Condition.tokens``; 0 for none.
        seconds: from one position of a series, or one frame of a clip, to the next; None for pictures.
        beside: channels of ``Condition.beside``.
    """

    def __init__(
        self,
        channels: int,
        axes: Sequence[int],
        shape: Shape,
        vector: int = 0,
        tokens: int = 0,
        seconds: float | None = None,
        beside: int = 0,
    ) -> None:
        super().__init__()
        if tuple(axes) not in {(2,), (2, 3), (3, 4)}:
            raise ValueError(f"axes are {axes}; expected (2,), (2, 3) or, of clips, (3, 4)")
        if seconds is not None and tuple(axes) == (2, 3):
            raise ValueError(f"seconds is {seconds} of pictures; expected it for series and clips alone")
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"seconds is {seconds}; expected a positive number")
        self.seconds, self.beside = seconds, beside
        rank, emb = len(axes), shape.embedding
        self.clips, self.axes, self.shape = 2 not in axes, tuple(range(4 - rank, 4)), shape
        cells = shape.patch**rank
        widths = [shape.width * m for m in shape.mults]
        levels, deepest = range(len(widths)), len(widths) - 1

        def blocks(inputs: Sequence[int], level: int) -> nn.ModuleList:
            attends = level in shape.attention
            return nn.ModuleList(Block(i, widths[level], emb, rank, attends, tokens) for i in inputs)

        def in_time() -> nn.ModuleList:
            return nn.ModuleList(Temporal(width, emb) for width in widths if self.clips)

        self.angle = Angle(shape.width)
        self.embed = nn.Sequential(nn.Linear(shape.width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.vector = nn.Linear(vector, emb, bias=False) if vector else None
        self.time_moment = Moment(emb) if self.clips and seconds is not None else None
        self.first = Conv(rank, (channels + beside) * cells, widths[0])
        patterns = pattern_count(rank, seconds is not None and not self.clips)
        self.places = nn.ModuleList(Place(patterns, widths[max(i - 1, 0)], emb) for i in levels)
        self.down = nn.ModuleList(
            blocks([widths[max(i - 1, 0)]] + [widths[i]] * (shape.blocks - 1), i) for i in levels
        )
        self.middle = blocks([widths[deepest]], deepest)
        self.narrow = nn.ModuleList(Conv(rank, widths[i + 1], widths[i], size=1) for i in levels[:-1])
        self.up = nn.ModuleList(blocks([2 * widths[i]] * shape.blocks, i) for i in levels)
        # Fewer features than channels cannot carry what is noise in each of these to where it is taken away.
        # So the net also says which share of each channel of its input goes through, as masks of spectra do
        self.masks = channels * cells > widths[0]
        self.last = Conv(rank, widths[0], (1 + self.masks) * channels * cells, size=1 if self.masks else 3)
        self.time_down, self.time_up = in_time(), in_time()
        nn.init.zeros_(self.last.weight)

    def forward(
        self,
        x: Float[Tensor, "b c *axes"],
        angle: Float[Tensor, " b"],
        condition: Condition | None = None,
        valid: Float[Tensor, "b 1 *axes"] | None = None,
    ) -> Float[Tensor, "b c *axes"]:
        """``valid`` is 1 where a sample holds data and 0 where it is padded, at the end of each axis.

        What stands in the padding changes nothing, comes out as zero, and a padded series as it would alone.
        """
        device = x.device.type
        if torch.is_autocast_enabled(device):  # as its layers would, but before x is copied
            x = x.to(torch.get_autocast_dtype(device))
        x = masked(self.joined(x, condition), valid)
        if x.ndim == 3:
            held = None if valid is None else raised(valid)
            return masked(self.through(raised(x), angle, condition, held).squeeze(2), valid)
        if not self.clips:
            return masked(self.through(x, angle, condition, valid), valid)
        frames = x.shape[2]
        clock = None
        if self.seconds is not None:
            apart = None if condition is None else condition.apart
            clock = torch.arange(frames, device=x.device) * (
                self.seconds if apart is None else apart[:, None]
            )
        held = None if valid is None else valid.flatten(3).amax((1, 3)) > 0
        clips = Clips(frames, clock, held, None if condition is None else condition.moving)
        each = None if condition is None else condition.frames(frames)
        out = self.through(framed(x), angle.repeat_interleave(frames), each, None, clips)
        return masked(unframed(out, frames), valid)

    def through(
        self,
        x: Float[Tensor, "b e h w"],
        angle: Float[Tensor, " b"],
        condition: Condition | None,
        valid: Float[Tensor, "b 1 h w"] | None,
        clips: Clips | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The net itself, which sees a clip as pictures that follow each other in the batch."""
        sizes = [x.shape[axis] for axis in self.axes]
        x = patchify(pad_to(x, self.shape.multiple, self.axes), self.shape.patch, self.axes)
        contexts = self.contexts(x, sizes, angle, condition, valid, clips)
        noisy, x = x, self.first(x)
        skips = []
        for level, context in enumerate(contexts):
            x = shrink(masked(x, contexts[level - 1].valid), self.axes) if level else x
            x = self.places[level](x, context.embedding, context.patterns)
            for block in children(self.down[level]):
                x = block(x, context)
                skips.append(x)
            x = self.time_down[level](x, context) if clips else x
        for block in children(self.middle):
            x = block(x, contexts[-1])
        for level, context in reversed(list(enumerate(contexts))):
            for block in children(self.up[level]):
                x = block(torch.cat([x, skips.pop()], dim=1), context)
            x = self.time_up[level](x, context) if clips else x
            x = grow(self.narrow[level - 1](x), self.axes) if level else x
        x = self.last(masked(F.silu(norm(x, contexts[0].valid)), contexts[0].valid))
        if self.masks:
            own, share = x.chunk(2, dim=1)
            x = torch.addcmul(own, share, noisy[:, : own.shape[1]].to(own.dtype))
        return crop_to(unpatchify(x, self.shape.patch, self.axes), sizes, self.axes)

    def joined(self, x: Tensor, condition: Condition | None) -> Tensor:
        """``x`` with clean data where they are given, and what runs beside it as further channels."""
        if condition is not None and condition.given is not None:
            x = condition.given.put(x)
        if not self.beside:
            return x
        if condition is None or condition.beside is None:
            return torch.cat([x, x.new_zeros(len(x), self.beside, *x.shape[2:])], 1)
        return torch.cat([x, condition.beside.to(x)], 1)

    def contexts(
        self,
        x: Tensor,
        sizes: Sequence[int],
        angle: Tensor,
        condition: Condition | None,
        valid: Tensor | None,
        clips: Clips | None,
    ) -> list[Context]:
        """Returns what the blocks of each level see beside their input; ``x`` is that of the finest."""
        embedding = self.embed(self.angle(angle))
        tokens = seen = None
        if condition is not None and self.vector is not None:
            embedding = embedding + self.vector(condition.vector)
        if condition is not None and condition.tokens.shape[1]:
            tokens, seen = condition.tokens, condition.mask
        if self.time_moment is not None and clips is not None:
            embedding = self.time_moment(embedding, clips)
        embedding, mask = F.silu(embedding), self.mask(x, sizes, valid)
        out = []
        for level in range(len(self.down)):
            mask = coarser(mask, self.axes) if level and mask is not None else mask
            times, patterns = self.places_of(x, sizes, valid, level)
            out.append(Context(embedding, tokens, seen, mask, patterns, times, clips))
        return out

    def mask(self, x: Tensor, sizes: Sequence[int], valid: Tensor | None) -> Tensor | None:
        """Returns which positions of the finest level hold any data; None when all do."""
        if valid is None:
            return inside(x, sizes, self.shape.patch, self.axes)
        whole = pad_to(valid, self.shape.multiple, self.axes)
        return patchify(whole, self.shape.patch, self.axes).amax(1, keepdim=True)

    def places_of(
        self, x: Tensor, sizes: Sequence[int], valid: Tensor | None, level: int
    ) -> tuple[Tensor | None, Tensor]:
        """Returns the time of each position of a level, of a timed series, and the patterns of its places."""
        step = self.shape.patch * 2**level
        shape = [x.shape[axis] // 2**level for axis in self.axes]
        if self.seconds is None or self.clips:
            return None, waves(shape, [-(-size // step) for size in sizes], x.device)
        times = (torch.arange(shape[0], device=x.device) + 0.5) * (self.seconds * step)
        held = torch.tensor([sizes[0]], device=x.device) if valid is None else valid.flatten(1).float().sum(1)
        return times, echoes(times, held * self.seconds)


def children(blocks: nn.Module) -> list[nn.Module]:
    """The blocks of a level, in order."""
    return list(blocks.children())
