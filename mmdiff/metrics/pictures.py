"""Measures of pictures that need no reference network: colours, the spectrum, and patches at every scale.

All take pictures `b 3 h w` with values in [0, 1], treat each by itself, and stay finite on flat ones.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from mmdiff import counter
from mmdiff.metrics.transport import directions

Pictures = Float[Tensor, "b 3 h w"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_FAINT = 1e-8  # of power: a deviation of 1 in 10,000 grey levels, which keeps flat pictures finite
_COARSEST = (
    16  # pixels: no level of a pyramid has a shorter side, unless the picture has (Karras et al., 2018)
)
_SIDE, _PLACES, _DIRECTIONS = 7, 32, 64  # of patches: pixels, how many a picture gives, projections
_LEAST = 1 / 255  # the smallest deviation of a colour channel that patches are divided by


def colour_moments(pictures: Pictures) -> Float[Tensor, "b 9"]:
    """Mean, standard deviation and skewness of each colour channel.

    The skewness is the cube root of the third central moment, in the unit of the colours (Stricker and
    Orengo, 1995, "Similarity of color images").
    """
    pixels = pictures.flatten(2)
    away = pixels - pixels.mean(2, keepdim=True)
    third = away.pow(3).mean(2)
    skewness = third.sign() * third.abs().pow(1 / 3)
    return torch.cat([pixels.mean(2), away.square().mean(2).sqrt(), skewness], 1)


def colour_difference(found: Pictures, asked: Pictures) -> Float[Tensor, " b"]:
    """How far the mean colours of two pictures are apart: the length of their difference, 0 to sqrt(3)."""
    return (found.mean((2, 3)) - asked.mean((2, 3))).norm(dim=1)


def spectral_slope(pictures: Pictures) -> Float[Tensor, " b"]:
    """The exponent with which the power of luminance changes with spatial frequency; in nature about -2.

    The power is averaged over rings one frequency wide (van der Schaaf and van Hateren, 1996, "Modelling
    the power spectra of natural images") of the picture under a Hann window, and a line is fitted to its
    logarithm over that of the frequency. Below 4 pixels a side there is one ring, and the slope is 0.
    """
    grey = torch.einsum("bchw,c->bhw", pictures, torch.tensor(_LUMA, dtype=pictures.dtype))
    height, width = grey.shape[1:]
    window = torch.hann_window(height, periodic=False)[:, None] * torch.hann_window(width, periodic=False)
    power = torch.fft.fft2((grey - grey.mean((1, 2), keepdim=True)) * window).abs().square() / grey[0].numel()
    down, across = (torch.fft.fftfreq(side) * min(height, width) for side in (height, width))
    ring = torch.hypot(down[:, None], across).round().long()
    rings = range(1, min(height, width) // 2 + 1)
    if len(rings) < 2:
        return torch.zeros(len(pictures))
    levels = torch.stack([power[:, ring == r].mean(1) for r in rings], 1).clamp_min(_FAINT).log()
    x = torch.tensor([math.log(r) for r in rings])
    x = x - x.mean()
    return (levels * x).sum(1) / x.square().sum()


def pyramid(pictures: Pictures) -> list[Float[Tensor, "b 3 _h _w"]]:
    """The Laplacian pyramid (Burt and Adelson, 1983), finest level first; the last is the blurred rest."""
    levels = []
    while min(pictures.shape[2:]) >= 2 * _COARSEST:
        small = _blurred(pictures)[..., ::2, ::2]
        levels.append(pictures - _enlarged(small, pictures))
        pictures = small
    return [*levels, pictures]


def patches(level: Pictures, reference: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "b p k"]:
    """Random projections of patches of one level of a pyramid, for `wasserstein`.

    As Karras et al. (2018, "Progressive growing of GANs", section 5) have it, with 32 patches of 7x7 of each,
    but the colours are standardised by the same level of the real pictures in both sets, so that contrast
    counts. Patches stand in the same places and projections are the same in every call.

    Args:
        level: of any pictures.
        reference: that of the real ones.
    """
    mean = reference.mean((0, 2, 3), keepdim=True)
    scale = reference.std((0, 2, 3), keepdim=True).clamp_min(_LEAST)
    side = min(_SIDE, *level.shape[2:])
    every = ((level - mean) / scale).unfold(2, side, 1).unfold(3, side, 1).flatten(2, 3)
    places = counter.permutation(0, "patches", size=every.shape[2])[:_PLACES]
    chosen = every[:, :, places].transpose(1, 2).flatten(2)
    return chosen @ directions(chosen.shape[2], _DIRECTIONS, counter.generator(0, "directions"))


def _blurred(pictures: Pictures) -> Pictures:
    """With the binomial filter 1, 4, 6, 4, 1 along both axes, edges repeated."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=pictures.dtype) / 16
    kernel = (taps[:, None] * taps).expand(3, 1, 5, 5)
    return conv2d(pad(pictures, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)


def _enlarged(small: Float[Tensor, "b 3 h2 w2"], like: Pictures) -> Pictures:
    """At twice the size, or one pixel less: what `like` has."""
    spread = torch.zeros_like(like)
    spread[..., ::2, ::2] = small
    weight = torch.zeros_like(like)
    weight[..., ::2, ::2] = 1
    return _blurred(spread) / _blurred(weight)
