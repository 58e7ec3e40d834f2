"""How a picture looks, whatever it shows, as a few numbers: what a style reference lends."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mmdiff.data.pictures import reduced

_SIDE = 32  # pixels of the shorter side, at most: a large picture looks as a small one of it does
_RANKS = 9  # quantiles of each channel, from the smallest value to the largest
_STEPS = (1, 2, 4)  # pixels over which textures change
_SCALES = (0.3, 0.15, 0.15)  # of luminance and of both colours: the numbers have about unit variance
FEATURES = 3 * (_RANKS + len(_STEPS))


def look(picture: UInt8[Tensor, "3 h w"]) -> Float[Tensor, " d"]:
    """Palette and texture: quantiles of luminance and colours, and how much each changes over a few pixels.

    A mirrored picture looks the same, and so does a larger one, but for details below 1/32 of it.
    """
    values = picture[None].float() / 255
    red, green, blue = reduced(values, _SIDE)[0]
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601, as the colours are
    channels = torch.stack([luminance - 0.5, (blue - luminance) * 0.564, (red - luminance) * 0.713])
    scaled = channels / torch.tensor(_SCALES)[:, None, None]
    palette = scaled.flatten(1).quantile(torch.linspace(0, 1, _RANKS), dim=1)
    changes = [
        torch.stack([(scaled - scaled.roll(step, axis)).abs().mean((1, 2)) for axis in (1, 2)]).mean(0)
        for step in _STEPS
    ]
    return torch.cat([palette.flatten(), ((torch.stack(changes) + 0.01).log() + 1.5).flatten()])
