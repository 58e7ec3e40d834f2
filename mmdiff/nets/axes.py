"""Sizes of any rank: frames into the batch, patches, halving and doubling, padding.

| data        | tensor      | axes that a net runs along | what it works on |
|-------------|-------------|----------------------------|------------------|
| image       | b c h w     | (2, 3)                     | b c h w          |
| spectrogram | b k l       | (2,)                       | b k 1 l          |
| video       | b c f h w   | (3, 4), and 2 in time      | (b f) c h w      |
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def raised(x: Tensor) -> Tensor:
    """A series as a map one row high, ``[b c l] -> [b c 1 l]``, channels last.

    The library convolves such a map two to four times as fast as the series.
    """
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def framed(x: Tensor) -> Tensor:
    """The frames of clips, ``[b c f h w] -> [b*f c h w]``, in order."""
    return x.transpose(1, 2).flatten(0, 1)


def unframed(x: Tensor, frames: int) -> Tensor:
    """Undoes ``framed``."""
    return x.unflatten(0, (-1, frames)).transpose(1, 2)


def per_channel(value: Tensor, x: Tensor) -> Tensor:
    """Shapes ``value [b c]`` so that it broadcasts over ``x [b c *axes]``."""
    return value.reshape(value.shape + (1,) * (x.ndim - 2))


def patchify(x: Tensor, patch: int, axes: Sequence[int]) -> Tensor:
    """Moves blocks of ``patch`` along each axis into the channels: ``[b c h w] -> [b c*p*p h/p w/p]``."""
    for axis in axes if patch > 1 else ():
        x = x.unflatten(axis, (x.shape[axis] // patch, patch)).movedim(axis + 1, 2).flatten(1, 2)
    return x


def unpatchify(x: Tensor, patch: int, axes: Sequence[int]) -> Tensor:
    """Undoes ``patchify``."""
    for axis in reversed(axes) if patch > 1 else ():
        x = x.unflatten(1, (x.shape[1] // patch, patch)).movedim(2, axis + 1).flatten(axis, axis + 1)
    return x


def shrink(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Halves ``axes`` of a map by the mean of two neighbours."""
    return F.avg_pool2d(x, [1 + (axis in axes) for axis in (2, 3)])


def grow(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Doubles ``axes`` of a map by repetition."""
    return F.interpolate(x, scale_factor=[1.0 + (axis in axes) for axis in (2, 3)], mode="nearest")


def pad_to(x: Tensor, multiple: int, axes: Sequence[int]) -> Tensor:
    """Pads ``axes`` with zeros at their ends up to a multiple of ``multiple``."""
    pads = [0, 0] * (x.ndim - 2)
    for axis in axes:
        pads[2 * (x.ndim - 1 - axis) + 1] = -x.shape[axis] % multiple
    return F.pad(x, pads) if any(pads) else x


def crop_to(x: Tensor, sizes: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Cuts ``axes`` back to ``sizes``."""
    for axis, size in zip(axes, sizes, strict=True):
        x = x.narrow(axis, 0, size)
    return x


def inside(x: Tensor, sizes: Sequence[int], patch: int, axes: Sequence[int]) -> Tensor | None:
    """Returns the mask ``[1 1 *axes]`` of ``x``, into which data of ``sizes`` were padded and patched.

    It is 1 where there are data and 0 on padding; None when nothing was padded.
    """
    held = [-(-size // patch) for size in sizes]
    if all(x.shape[axis] * patch == size for axis, size in zip(axes, sizes, strict=True)):
        return None
    mask = x.new_ones([1] * x.ndim)
    for axis, size in zip(axes, held, strict=True):
        places = torch.arange(x.shape[axis], device=x.device) < size
        mask = mask * places.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return mask


def coarser(mask: Tensor, axes: Sequence[int]) -> Tensor:
    """Halves ``axes`` of a mask ``[b 1 h w]``; a coarse position counts when any of its parts does."""
    return (shrink(mask, axes) > 0).to(mask.dtype)
