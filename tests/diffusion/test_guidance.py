import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmdiff.diffusion import grids
from mmdiff.diffusion.guidance import GUIDANCE, ClassifierFree, Guidance, Interval, Rescale, guide
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.schedules import Edm, RectifiedFlow

MIDDLE = Edm().of_rho(torch.tensor(1.0))


def pair(b: int = 3) -> tuple[Tensor, Tensor]:
    main, null = torch.randn(2, b, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return main, null


def answer(guidance: Guidance, x0s: tuple[Tensor, ...], level: NoiseLevel = MIDDLE) -> Tensor:
    return guidance.combine(x0s[: len(guidance.branches(level))], level)


@pytest.mark.parametrize("guidance", [guide(1.0), guide(1.0, (0.1, 9.0), 0.5), GUIDANCE["cfg"](scale=1.0)])
def test_scale_one_is_no_guidance(guidance: Guidance) -> None:
    assert guidance.branches(MIDDLE) == ("main",)
    assert torch.equal(answer(guidance, pair()), pair()[0])


@given(st.floats(0, 20))
def test_classifier_free_is_a_line_through_both(scale: float) -> None:
    main, null = pair()
    torch.testing.assert_close(answer(guide(scale), (main, null)), torch.lerp(null, main, scale))
    torch.testing.assert_close(answer(guide(scale), (main, main)), main)


@given(st.floats(0, 20), st.floats(0, 20))
def test_two_conditions_are_weighed_as_in_instruct_pix2pix(image: float, text: float) -> None:
    """``null + s_I (image - null) + s_T (both - image)``: eq. 3 of Brooks et al., 2023."""
    both, null, only_image = torch.randn(3, 2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    guidance = guide(image, each=(("text", text),))
    x0s = {"main": both, "null": null, "text": only_image}
    made = guidance.combine(tuple(map(x0s.__getitem__, guidance.branches(MIDDLE))), MIDDLE)
    torch.testing.assert_close(
        made, null + image * (only_image - null) + text * (both - only_image), rtol=1e-4, atol=1e-4
    )


def test_without_guidance_one_condition_alone_costs_one_branch() -> None:
    assert guide(1.0, each=(("text", 2.0),)).branches(MIDDLE) == ("main", "text")
    assert guide(2.0, each=(("text", 1.0),)).branches(MIDDLE) == ("main", "null", "text")


@pytest.mark.parametrize(
    ("rho", "inside"), [(0.05, False), (0.1, True), (1.0, True), (9.0, True), (10.0, False)]
)
def test_outside_the_interval_one_branch_is_evaluated(rho: float, inside: bool) -> None:
    guidance, level = guide(3.0, (0.1, 9.0)), RectifiedFlow().of_rho(torch.tensor(rho).double())
    level = NoiseLevel(level.alpha, level.alpha * rho)
    assert guidance.branches(level) == (("main", "null") if inside else ("main",))
    wanted = answer(guide(3.0), pair()) if inside else pair()[0]
    assert torch.equal(answer(guidance, pair(), level), wanted)


def test_an_open_interval_holds_at_pure_noise() -> None:
    levels = grids.uniform(RectifiedFlow(), 4)
    guidance = GUIDANCE["interval"](base=ClassifierFree(2.0))
    assert {guidance.branches(levels.at(i)) for i in range(5)} == {("main", "null")}


def test_rescale_restores_the_spread_of_each_sample() -> None:
    main, null = pair()
    guided = answer(guide(7.0), (main, null))
    full = answer(guide(7.0, rescale=1.0), (main, null))
    torch.testing.assert_close(full.flatten(1).std(1), main.flatten(1).std(1))
    half = answer(guide(7.0, rescale=0.5), (main, null))
    torch.testing.assert_close(half, (guided + full) / 2)
    assert torch.equal(answer(Rescale(ClassifierFree(7.0), 0.0), (main, null)), guided)


def test_a_blank_sample_stays_blank() -> None:
    blank = torch.zeros(1, 3, 5, 5)
    assert torch.equal(answer(guide(3.0, rescale=0.7), (blank, blank)), blank)


def test_guidances_compose_in_any_order() -> None:
    inside = Interval(Rescale(ClassifierFree(3.0), 0.7), 0.1, 9.0)
    outside = Rescale(Interval(ClassifierFree(3.0), 0.1, 9.0), 0.7)
    for rho in (0.01, 1.0, 50.0):
        level = Edm().of_rho(torch.tensor(rho))
        assert torch.equal(answer(inside, pair(), level), answer(outside, pair(), level))
    assert inside == guide(3.0, (0.1, 9.0), 0.7)


def test_samples_are_independent() -> None:
    main, null = pair(5)
    guidance, order = guide(3.0, rescale=0.7), torch.tensor([3, 1, 4, 0, 2])
    clean = answer(guidance, (main, null))
    assert torch.equal(answer(guidance, (main[order], null[order])), clean[order])
    assert torch.equal(answer(guidance, (main[1:2], null[1:2])), clean[1:2])
    main[2] = math.nan
    keep = torch.tensor([0, 1, 3, 4])
    assert torch.equal(answer(guidance, (main, null))[keep], clean[keep])


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"interval is \(2\.0, 1\.0\); expected 0 <= low <= high"):
        guide(3.0, (2.0, 1.0))
    with pytest.raises(ValueError, match=r"rescale is 1\.5; expected 0 to 1"):
        guide(3.0, rescale=1.5)
