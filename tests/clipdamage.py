"""Clips of the law, and what spoils them the more the larger a strength from 0 to 1 is; all are of 8 bits."""

from fractions import Fraction

import torch
from torch.nn.functional import avg_pool2d, interpolate

from mmdiff import counter
from mmdiff.data.bounce import Bounce

FPS, SIDE = 8, 32


def bouncing(count, frames=16, seed=0, under_way=0.0):
    """Clips `b f h w 3`, and their truth."""
    source = Bounce(seed, count, (SIDE, SIDE), frames, Fraction(FPS), under_way=under_way)
    clips = torch.stack([source[index][0] for index in range(count)]).movedim(1, -1)
    return clips.contiguous(), [source.columns(index) for index in range(count)]


def blurred(clips, strength):
    """A mixture with the frames at a quarter of their size."""
    frames = clips.float().movedim(-1, 2).flatten(0, 1)
    small = interpolate(avg_pool2d(frames, 4), scale_factor=4, mode="bilinear")
    mixed = (1 - strength) * frames + strength * small
    return _bytes(mixed.unflatten(0, clips.shape[:2]).movedim(2, -1))


def noisy(clips, strength):
    return _bytes(clips.float() + 60 * strength * counter.normal(0, "damage", shape=clips.shape))


def shuffled(clips, strength):
    """Each frame comes up to `strength` of the clip later than it should."""
    count, frames = clips.shape[:2]
    late = [[counter.uniform(0, "late", i, j) for j in range(frames)] for i in range(count)]
    order = (torch.arange(frames) + strength * frames * torch.tensor(late)).argsort(1)
    return clips[torch.arange(count)[:, None], order]


def dropped(clips, strength):
    """A share of the frames is missing, and in their place the one before goes on."""
    count, frames = clips.shape[:2]
    shown = torch.arange(frames).repeat(count, 1)
    for row in range(count):
        for frame in counter.permutation(0, "gone", row, size=frames - 1)[: round(strength * (frames - 1))]:
            shown[row, frame + 1] = 0
    return clips[torch.arange(count)[:, None], shown.cummax(1).values]


def _bytes(clips):
    return clips.round().clamp(0, 255).to(torch.uint8)
