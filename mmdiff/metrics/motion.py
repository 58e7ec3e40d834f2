"""Measures of clips that need no reference network: how much moves, flickers and tears, and how fast.

All take clips `b f h w 3`, or one without the `b`, of 8 bits or with values in [0, 1], treat each by itself,
and stay finite on those where nothing moves. No one of them is to be read alone: a frozen clip flickers least
and warps best, and noise moves most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mmdiff.metrics.flow import flow, warped

Clips = UInt8[Tensor, "*b f h w 3"] | Float[Tensor, "*b f h w 3"]
Flows = Float[Tensor, "*b f1 2 h w"]  # from each frame but the last to the next

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_FAINT = 1e-8  # of power: a deviation of 1 in 10,000 grey levels, which keeps what stands still finite


class Seam(NamedTuple):
    """How seams stand out: their mean change, that of the others, and the share of the others below theirs.

    Of many clips the ratio of the means says more than the mean of the ratios: some clips hardly change.
    """

    here: Float[Tensor, "*b"]
    others: Float[Tensor, "*b"]
    rank: Float[Tensor, "*b"]

    @property
    def ratio(self) -> Float[Tensor, "*b"]:
        """How much larger the change of the seams is; 0 where nothing changes."""
        return self.here / self.others.clamp_min(1e-6)


def floats(clips: Clips) -> Float[Tensor, "*b f h w 3"]:
    """With values in [0, 1]. Raises ValueError for clips of one frame, in which nothing can move."""
    if clips.shape[-4] < 2:
        raise ValueError(f"clips: {clips.shape[-4]} frames, expected two or more")
    return clips if clips.is_floating_point() else clips.float() / 255


def flows(clips: Clips) -> Flows:
    """Where the pixels of each frame are in the next one."""
    frames = floats(clips).movedim(-1, -3)
    first, second = frames[..., :-1, :, :, :], frames[..., 1:, :, :, :]
    return flow(first.flatten(0, -4), second.flatten(0, -4)).unflatten(0, first.shape[:-3])


def amount(found: Flows, fps: float) -> Float[Tensor, "*b"]:
    """How much moves: the mean length of the flow over all pixels, in shorter sides a second."""
    return found.norm(dim=-3).mean((-3, -2, -1)) * fps / min(found.shape[-2:])


def flicker(clips: Clips) -> Float[Tensor, "*b"]:
    """How much a frame differs from the one before: the mean difference of the values, 0 to 1.

    It is what VBench subtracts from 1 (Huang et al., 2024, "VBench", temporal flickering). What moves
    flickers too, so it is never shown without `amount`.
    """
    return changes(clips).mean(-1)


def changes(clips: Clips) -> Float[Tensor, "*b f1"]:
    """The mean difference of each frame but the first from the one before, 0 to 1."""
    return floats(clips).diff(dim=-4).abs().mean((-3, -2, -1))


def warp_error(clips: Clips, found: Flows) -> Float[Tensor, "*b"]:
    """What motion does not explain: the mean of `unexplained`, 0 to 1."""
    return unexplained(clips, found).mean(-1)


def unexplained(clips: Clips, found: Flows) -> Float[Tensor, "*b f1"]:
    """The mean difference of each frame but the last from the next one moved back, 0 to 1.

    It is the warping error of Lai et al. (2018, "Learning blind video temporal consistency", eq. 11), but of
    the first power and with what is hidden or shown by the motion, so that real clips have one too.

    Args:
        clips: of any number.
        found: their `flows`.
    """
    frames = floats(clips).movedim(-1, -3)
    first, second = frames[..., :-1, :, :, :], frames[..., 1:, :, :, :]
    back = warped(second.flatten(0, -4), found.flatten(0, -4)).view_as(second)
    return (back - first).abs().mean((-3, -2, -1))


def temporal_spectrum(clips: Clips) -> Float[Tensor, "*b k"]:
    """The logarithm, in nepers, of how much power the luminance of a pixel has at each frequency of time.

    It is the mean over all pixels. The frequencies are the multiples of `fps / f` from 1 to `f // 2`, seen
    through a Hann window; what stands still has the logarithm of 1e-8 at all of them.
    """
    grey = floats(clips) @ torch.tensor(_LUMA)
    count = grey.shape[-3]
    window = torch.hann_window(count + 2, periodic=False)[1:-1, None, None]
    away = (grey - grey.mean(-3, keepdim=True)) * window
    power = torch.fft.rfft(away, dim=-3).abs().square()[..., 1:, :, :] / count
    return power.mean((-2, -1)).clamp_min(_FAINT).log()


def seam(
    values: Float[Tensor, "*b f1"], at: Sequence[int], reference: Float[Tensor, " n"] | None = None
) -> Seam:
    """Compares the changes that frames bring with the other changes in the clip, or in real clips.

    Args:
        values: `changes` or what is `unexplained`, of clips with seams at the same frames.
        at: the first frame of each part that was joined on.
        reference: the same of clips without a seam, in place of the clip's own; as many as there are.

    Raises:
        ValueError: there is no seam, no frame comes before one, or the clip has no other change.
    """
    count = values.shape[-1]
    there = torch.tensor([frame in at for frame in range(1, count + 1)])
    if not set(at) or there.sum() < len(set(at)) or (reference is None and there.all()):
        raise ValueError(f"seam: at frames {list(at)} of {count + 1}, expected some inside a longer clip")
    here = values[..., there].mean(-1)
    others = values[..., ~there] if reference is None else reference.expand(*here.shape, -1)
    return Seam(here, others.mean(-1), (others < here[..., None]).float().mean(-1))
