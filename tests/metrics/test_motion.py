"""The measures of clips on what is known exactly, and their order under four strengths of each damage."""

from itertools import pairwise

import pytest
import torch

from mmdiff import counter
from mmdiff.metrics import motion
from tests.clipdamage import FPS, blurred, bouncing, dropped, noisy, shuffled

SEAMS = (8, 16, 24)
STRENGTHS = (0.0, 0.1, 0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def clips():
    return bouncing(6)[0]


def flicker(found, real):
    return motion.flicker(found)


def warp_error(found, real):
    return motion.warp_error(found, motion.flows(found))


def moved(found, real):
    return motion.amount(motion.flows(found), FPS)


def spectrum(found, real):
    """How far the spectra of each clip and its twin are apart."""
    return (motion.temporal_spectrum(found) - motion.temporal_spectrum(real)).abs().mean(1)


RISING = [
    *((noisy, measure) for measure in (flicker, warp_error, spectrum)),
    *((shuffled, measure) for measure in (flicker, moved, spectrum)),
    *((damage, spectrum) for damage in (blurred, dropped)),
]
FALLING = [(blurred, flicker), (dropped, flicker), (dropped, moved)]


@pytest.mark.parametrize(
    ("damage", "measure", "sign"), [*((*pair, 1) for pair in RISING), *((*pair, -1) for pair in FALLING)]
)
def test_more_damage_is_told(clips, damage, measure, sign):
    found = [sign * float(measure(damage(clips, strength), clips).mean()) for strength in STRENGTHS]
    assert all(a < b for a, b in pairwise(found)), found


def every(clips):
    found = motion.flows(clips)
    seam = motion.seam(motion.changes(clips), [3])
    return {
        "amount": motion.amount(found, FPS),
        "flicker": motion.flicker(clips),
        "warp error": motion.warp_error(clips, found),
        "spectrum": motion.temporal_spectrum(clips),
        "ratio": seam.ratio,
        "rank": seam.rank,
    }


def test_the_order_of_the_clips_is_no_matter_nor_how_they_are_given(clips):
    some, order = clips[:4, :6], torch.tensor(counter.permutation(0, "order", size=4))
    whole, moved, one = every(some), every(some[order]), every(some[2])
    numbers = every(some.float() / 255)
    for name, value in whole.items():
        torch.testing.assert_close(moved[name], value[order], atol=1e-4, rtol=1e-3, msg=name)
        torch.testing.assert_close(one[name], value[2], atol=1e-4, rtol=1e-3, msg=name)
        torch.testing.assert_close(numbers[name], value, msg=name)


def test_what_stands_still_is_measured_without_nan(clips):
    for still in (
        clips[:2, :1].expand(-1, 5, -1, -1, -1),
        torch.zeros(2, 5, 9, 7, 3),
        torch.ones(1, 2, 1, 1, 3),
    ):
        if still.shape[1] > 3:
            found = every(still)
            assert all(value.isfinite().all() for value in found.values())
            assert (found["ratio"] == 0).all()
        for value in (motion.flicker(still), warp_error(still, None), moved(still, None)):
            assert (value < 1e-4).all()
        assert motion.temporal_spectrum(still).isfinite().all()


def test_a_clip_of_one_frame_is_refused(clips):
    with pytest.raises(ValueError, match="1 frames, expected two or more"):
        motion.flicker(clips[:, :1])


def test_the_flicker_of_a_lamp_is_known():
    clip = torch.zeros(8, 4, 4, 3)
    clip[::2] = 0.5
    assert float(motion.flicker(clip)) == 0.5
    spectrum = motion.temporal_spectrum(clip)
    assert spectrum.shape == (4,)
    assert int(spectrum.argmax()) == 3  # half of the frame rate


def test_motion_is_in_shorter_sides_a_second():
    found = torch.zeros(3, 2, 20, 40)
    found[:, 0] = 2.0
    assert float(motion.amount(found, 5.0)) == pytest.approx(2 * 5 / 20)


def unexplained(clips):
    return motion.unexplained(clips, motion.flows(clips))


@pytest.mark.parametrize("measure", [motion.changes, unexplained])
def test_a_cut_is_a_seam_and_the_middle_of_a_clip_is_none(clips, measure):
    cut = torch.cat([clips[:, :8], clips.roll(1, 0)[:, 8:]], 1)
    whole, torn = measure(clips), measure(cut)
    straight = measure(clips[:, :8])  # in the middle of sixteen frames they turn back
    assert 0.8 <= motion.seam(straight, [4]).ratio.median() <= 1.2
    assert motion.seam(torn, [8]).ratio.min() > 1.5
    assert (motion.seam(torn, [8]).rank == 1).all()
    assert motion.seam(torn, [8], whole.flatten()).ratio.median() > 1.5
    for at in ([], [0], [16], [3, 16], range(1, 16)):
        with pytest.raises(ValueError, match="expected some inside"):
            motion.seam(whole, at)


def skipping(clips, strength):
    """Up to three frames are left out before each of three seams."""
    starts = [start + round(4 * strength) * number for number, start in enumerate((0, *SEAMS))]
    return torch.cat([clips[:, start : start + 8] for start in starts], 1)


def changing(clips, strength):
    """At each of three seams another clip begins, or ends, to show through."""
    other = (torch.arange(32) // 8 % 2)[:, None, None, None] * strength
    return (((1 - other) * clips[:, :32] + other * clips.roll(1, 0)[:, :32]) / 255).float()


# Motion explains a leap, however long it is
@pytest.mark.parametrize(
    ("jump", "measure"),
    [(skipping, motion.changes), (changing, motion.changes), (changing, unexplained)],
)
def test_the_larger_the_jumps_the_more_the_seams_stand_out(jump, measure):
    clips, found = bouncing(16, 48)[0], []
    for strength in (0.0, 0.25, 0.5, 0.75):
        here, others, _ = motion.seam(measure(jump(clips, strength)), SEAMS)
        found.append(float(here.mean() / others.mean()))
    assert 0.8 <= found[0] <= 1.2
    assert all(a < b for a, b in pairwise(found)), found
