"""Where every pixel goes from one picture to the next: a small optical flow, coarse to fine.

It is that of Lucas and Kanade (1981, "An iterative image registration technique") around each pixel, on all
colours together, refined by warping from the coarsest to the finest level of a pyramid (Bouguet, 2000,
"Pyramidal implementation of the affine Lucas Kanade feature tracker"). Two things make it exact up to the
edges: slopes are those of both pictures, and what is outside the second one has no say.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, interpolate, pad

Pictures = Float[Tensor, "b 3 h w"]  # values in [0, 1]
Flow = Float[Tensor, "b 2 h w"]  # pixels to the right and down

_COARSEST = 8  # pixels: no level has a shorter side, unless the picture has
_ROUNDS = 4  # at each level; further ones change textures by less than 0.01 pixels
_LONGEST = 1.0  # pixels in one round: beyond it the straight line that the method draws means nothing
_FAINT = 1e-4  # of squared slopes: 2.5 grey levels of 255 a pixel; flatter places do not move
_SMOOTH = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # before every second pixel is taken
_WINDOW = tuple(math.exp(-((x / 2.5) ** 2) / 2) / 6.26 for x in range(-8, 9))  # about as wide as small shapes
_SLOPE = (-0.5, 0.0, 0.5)


def flow(first: Pictures, second: Pictures) -> Flow:
    """For each pixel of the first pictures, how far away in the second ones the same thing is.

    Textures that move as a whole by up to an eighth of the shorter side are found within 0.1 pixels, plain
    shapes within 0.2. Flat places have the flow 0, unless something is near.
    """
    levels = [(first, second)]
    while min(levels[-1][0].shape[2:]) >= 2 * _COARSEST:
        finer = levels[-1]
        levels.append((_halved(finer[0]), _halved(finer[1])))
    found = torch.zeros_like(levels[-1][0][:, :2])
    for one, two in reversed(levels):
        if found.shape[2:] != one.shape[2:]:
            found = 2 * interpolate(found, one.shape[2:], mode="bilinear", align_corners=False)
        found = _refined(one, two, found)
    return found


def warped(pictures: Float[Tensor, "b c h w"], flow: Flow) -> Float[Tensor, "b c h w"]:
    """What is found at the end of the flow of each pixel; beyond the edges the pictures go on as they end."""
    return grid_sample(pictures, _ends(flow).movedim(1, -1), padding_mode="border", align_corners=False)


def _ends(flow: Flow) -> Flow:
    """Where the flow of each pixel ends: -1 and 1 are the edges of the picture."""
    height, width = flow.shape[2:]
    across = torch.arange(width) + 0.5 + flow[:, 0]
    down = torch.arange(height)[:, None] + 0.5 + flow[:, 1]
    return torch.stack([2 * across / width - 1, 2 * down / height - 1], 1)


def _refined(first: Pictures, second: Pictures, found: Flow) -> Flow:
    """The flow after some rounds, each of which solves for what the second pictures, warped, differ by."""
    for _ in range(_ROUNDS):
        moved = warped(second, found)
        seen = (_ends(found).abs() <= 1).all(1, keepdim=True)
        x, y = (seen * slope for slope in _slopes((first + moved) / 2))
        xx, xy, yy = _gathered(x * x) + _FAINT, _gathered(x * y), _gathered(y * y) + _FAINT
        right, down = _gathered(x * (moved - first)), _gathered(y * (moved - first))
        more = torch.cat([xy * down - yy * right, xy * right - xx * down], 1) / (xx * yy - xy * xy)
        found = found + more / (more.norm(dim=1, keepdim=True) / _LONGEST).clamp_min(1)
    return found


def _slopes(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """How values change a pixel to the right and a pixel down."""
    return _filtered(pictures, _SLOPE, (1.0,)), _filtered(pictures, (1.0,), _SLOPE)


def _gathered(products: Pictures) -> Float[Tensor, "b 1 h w"]:
    """The sum over colours, and the mean of the window around each pixel."""
    return _filtered(products.sum(1, keepdim=True), _WINDOW, _WINDOW)


def _halved(pictures: Pictures) -> Float[Tensor, "b 3 h2 w2"]:
    """At half the size: blurred, and the mean of every two pixels taken."""
    height, width = pictures.shape[2:]
    smooth = _filtered(pictures, _SMOOTH, _SMOOTH)
    return interpolate(smooth, (height // 2, width // 2), mode="bilinear", align_corners=False)


def _filtered(
    pictures: Float[Tensor, "b c h w"], across: tuple[float, ...], down: tuple[float, ...]
) -> Float[Tensor, "b c h w"]:
    """With a filter along each axis, edges repeated."""
    channels, right, below = pictures.shape[1], len(across) // 2, len(down) // 2
    padded = pad(pictures, (right, right, below, below), mode="replicate")
    rows, columns = (torch.tensor(taps, dtype=pictures.dtype) for taps in (across, down))
    once = conv2d(padded, rows.expand(channels, 1, 1, -1), groups=channels)
    return conv2d(once, columns[:, None].expand(channels, 1, -1, 1), groups=channels)
