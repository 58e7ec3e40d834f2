import pytest
from PIL import Image, ImageFont

from mmdiff.generation.sheet import FONT_SIZE, MARGIN, sheet, wrap, zoom


def blocks(count: int, size: tuple[int, int] = (4, 4)) -> list[Image.Image]:
    return [Image.new("RGB", size, (20 * i, 255 - 20 * i, 99)) for i in range(count)]


@pytest.mark.parametrize(("side", "factor"), [(16, 4), (32, 4), (48, 2), (64, 2), (100, 1), (500, 1)])
def test_small_pictures_are_enlarged(side, factor):
    assert zoom(blocks(2, (side // 2, side))) == factor


def test_every_picture_is_there_pixel_for_pixel():
    pictures = blocks(5, (8, 6))
    page = sheet(pictures, [""] * 5, columns=3)
    cell = 4 * 8 + MARGIN, 4 * 6 + MARGIN
    for place, picture in enumerate(pictures):
        left, top = MARGIN + place % 3 * cell[0], MARGIN + place // 3 * cell[1]
        shown = page.crop((left, top, left + 32, top + 24))
        assert shown.resize((8, 6), Image.Resampling.NEAREST).tobytes() == picture.tobytes()


def test_the_grid_is_about_square():
    page = sheet(blocks(9, (32, 32)), ["x"] * 9)
    assert 0.7 < page.width / page.height < 1.3


def test_captions_leave_ink_under_their_picture():
    blank, written = sheet(blocks(1), [""]), sheet(blocks(1), ["red"])
    below = (0, MARGIN + 16 + 1, blank.width, written.height)
    assert len(written.crop(below).getcolors()) > 1
    assert written.height > blank.height


def test_captions_are_wrapped_between_words_and_cut():
    font = ImageFont.load_default(size=FONT_SIZE)
    lines = wrap("a red circle in the top left corner of a wide white field with nothing else", 80, font)
    assert len(lines) == 3
    assert all(font.getlength(line) <= 80 for line in lines)
    assert lines[0] == "a red circle in"
    assert lines[-1].endswith("...")
    assert wrap("unbelievablyincomprehensible", 60, font)[0].endswith("...")
    assert wrap("", 60, font) == []


def test_captions_in_any_script_are_accepted():
    sheet(blocks(2), ["红心 сердце ♥", "\N{HEAVY BLACK HEART}"])


def test_pictures_of_any_mode_and_size():
    page = sheet([Image.new("RGBA", (10, 4), (1, 2, 3, 255)), Image.new("L", (4, 10), 7)], ["a", "b"])
    assert page.mode == "RGB"


@pytest.mark.parametrize(("pictures", "captions"), [(0, 0), (2, 1)])
def test_a_caption_for_each_picture(pictures, captions):
    with pytest.raises(ValueError, match=f"got {pictures} pictures and {captions} captions"):
        sheet(blocks(pictures), ["x"] * captions)
