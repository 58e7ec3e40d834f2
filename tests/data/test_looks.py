"""Laws of how pictures look: what changes it, and what does not."""

import pytest
import torch
from torch.nn.functional import interpolate
from torch.testing import assert_close

from mmdiff.data.looks import FEATURES, look


def picture(seed: int = 0, height: int = 32, width: int = 24) -> torch.Tensor:
    return torch.randint(
        0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (32, 24), (100, 60)])
def test_any_size_gives_as_many_finite_numbers(height, width):
    found = look(picture(0, height, width))
    assert found.shape == (FEATURES,)
    assert found.isfinite().all()


def test_mirrored_and_larger_pictures_look_the_same():
    small = picture()
    assert_close(look(small), look(small.flip(-1)), atol=1e-5, rtol=0)
    assert_close(look(small), look(small.flip(-2)), atol=1e-5, rtol=0)
    large = picture(1, 32, 32).repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert_close(look(large), look(picture(1, 32, 32)), atol=1e-5, rtol=0)


def test_colour_contrast_and_texture_change_it_each_in_its_own_numbers():
    plain, blue = (
        torch.full((3, 32, 32), 128, dtype=torch.uint8),
        torch.full((3, 32, 32), 128, dtype=torch.uint8),
    )
    blue[2] = 255
    palettes, textures = slice(0, 27), slice(27, None)
    assert (look(blue) - look(plain))[palettes].abs().amax() > 1
    assert torch.equal(look(blue)[textures], look(plain)[textures])
    rough = picture(2, 32, 32)
    smooth = rough.flatten(1).sort(1).values.view_as(rough)
    assert (look(rough) - look(smooth))[textures].abs().amax() > 1
    grey = [look(values[:1].expand(3, -1, -1))[palettes] for values in (rough, smooth)]
    assert torch.equal(*grey)  # the same values elsewhere


def test_the_numbers_of_blurred_colours_have_about_unit_size():
    dice = torch.Generator().manual_seed(0)
    colours = [torch.rand(1, 3, 2 + i % 9, 2 + i % 9, generator=dice) * 255 for i in range(200)]
    blurred = [interpolate(each, (32, 32), mode="bilinear")[0].to(torch.uint8) for each in colours]
    found = torch.stack([look(each) for each in blurred])
    assert found.std(0).min() > 0.15
    assert found.std(0).max() < 2
    assert found.abs().max() < 6
