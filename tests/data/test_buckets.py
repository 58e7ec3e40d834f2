"""Which of several sizes a file is brought to."""

import pytest

from mmdiff.data.buckets import nearest

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
    ],
)
def test_a_file_goes_where_its_shape_is_nearest(width, height, size):
    assert SIZES[nearest(SIZES, width, height)] == size
