import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.diffusion.level import NoiseLevel, spread

angles = st.floats(0.01, math.pi / 2)


def level(*angle: float) -> NoiseLevel:
    points = torch.tensor(angle, dtype=torch.float64)
    return NoiseLevel(points.cos(), points.sin())


@given(st.lists(angles, min_size=1, max_size=4), st.sampled_from([(3,), (2, 5), (1, 2, 3)]))
def test_x_holds_as_much_of_both_as_the_level_says(angle: list[float], shape: tuple[int, ...]) -> None:
    at = level(*angle)
    x0, eps = torch.randn(2, len(angle), *shape, dtype=torch.float64)
    for x, data, noise, turn in zip(at.mix(x0, eps), x0, eps, angle, strict=True):
        torch.testing.assert_close(x, math.cos(turn) * data + math.sin(turn) * noise)


def test_ends_are_exact() -> None:
    ends = NoiseLevel(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())
    assert ends.rho.tolist() == [0.0, math.inf]
    assert ends.logsnr.tolist() == [math.inf, -math.inf]
    assert ends.angle(0.5).tolist() == [0.0, math.pi / 2]


def test_a_level_is_cast_when_it_meets_x() -> None:
    x = torch.randn(3, 2, 4)
    for at in (level(0.3).at(0), level(0.3, 0.4, 0.5), level(0.3).at(0).expand(3)):
        assert at.mix(x, x).dtype == torch.float32
        assert at.mix(x, x).shape == x.shape
        assert at.alpha.dtype == torch.float64
    assert spread(torch.ones(3), x).shape == (3, 1, 1)
