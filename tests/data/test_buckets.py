"""Which of several sizes a file is brought to."""

import pytest

from mmdiff.data.buckets import nearest
from mmdiff.errors import UserError

SIZES = [(32, 32), (48, 32), (32, 48), (64, 64)]


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (100, 100, (64, 64)),
        (40, 40, (32, 32)),  # it does not fill the larger square
        (20, 20, (32, 32)),  # nor any
        (1920, 1080, (48, 32)),
        (1080, 1920, (32, 48)),
        (110, 100, (64, 64)),
        ("1920", "1080", (48, 32)),  # as CSV says it
    ],
)
def test_a_file_goes_where_its_shape_is_nearest(width, height, size):
    assert SIZES[nearest(SIZES, {"width": width, "height": height}, "a.png")] == size


@pytest.mark.parametrize("columns", [{}, {"width": "wide", "height": 3}, {"width": 0, "height": 3}])
def test_a_file_without_a_shape_is_named(columns):
    with pytest.raises(UserError, match=r"a\.png: got width .* and height .*, expected pixels"):
        nearest(SIZES, columns, "a.png")
