import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mmdiff.data.badfile import BadFile
from mmdiff.data.pictures import decoded
from tests.data import zoo
from tests.data.damage import refused, wounded

WHOLE = zoo.whole()
MIDDLES = zoo.blocks()[8::16, 8::16]


def off(picture: np.ndarray, expected: np.ndarray = MIDDLES) -> int:
    """The largest error at the middles of the six blocks."""
    assert picture.shape == (32, 48, 3)
    assert picture.dtype == np.uint8
    return int(np.abs(picture[8::16, 8::16].astype(int) - expected).max())


def turned(orientation: int, stored: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return zoo.saved(stored, "JPEG", quality=95, exif=exif)


@pytest.mark.parametrize("name", [name for name in WHOLE if "noise" not in name])
def test_every_format_keeps_the_colours(name):
    assert off(decoded(WHOLE[name], name)) <= 12


@pytest.mark.parametrize("name", WHOLE)
def test_the_content_counts_and_not_the_extension(name):
    np.testing.assert_array_equal(decoded(WHOLE[name], "x.png"), decoded(WHOLE[name], name))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_rgb_is_read_exactly(kind):
    np.testing.assert_array_equal(decoded(zoo.saved(zoo.noise(), kind), "x"), zoo.noise())


def test_one_pixel():
    dot = np.array([[[200, 100, 50]]], np.uint8)
    np.testing.assert_array_equal(decoded(zoo.saved(dot), "x"), dot)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation):
    """The stored picture is made by undoing what EXIF says a viewer must do (EXIF 2.3, 4.6.4 A)."""
    up = Image.fromarray(zoo.blocks())
    flips = {2: [1], 3: [0, 1], 4: [0], 5: ["t"], 6: ["t", 0], 7: ["t", 0, 1], 8: ["t", 1]}.get(
        orientation, []
    )
    stored = np.asarray(up)
    for flip in flips:
        stored = stored.swapaxes(0, 1) if flip == "t" else np.flip(stored, flip)
    assert off(decoded(turned(orientation, Image.fromarray(stored)), "x")) <= 12


def test_damaged_exif_is_no_reason_to_refuse():
    data = zoo.saved(zoo.blocks(), "JPEG", quality=95, exif=b"Exif\0\0II*\0" + b"\xff" * 40)
    assert off(decoded(data, "x")) <= 12


def test_alpha_is_straight_and_lies_on_white():
    rgba = zoo.noise(channels=4)
    colour, alpha = rgba[..., :3].astype(float), rgba[..., 3:].astype(float)
    expected = np.round((colour * alpha + 255 * (255 - alpha)) / 255)
    np.testing.assert_array_equal(decoded(zoo.saved(rgba), "x"), expected)


def test_grey_with_alpha():
    both = zoo.noise(channels=2)
    grey, alpha = both[..., 0].astype(float), both[..., 1].astype(float)
    expected = np.round((grey * alpha + 255 * (255 - alpha)) / 255)
    np.testing.assert_array_equal(
        decoded(zoo.saved(Image.fromarray(both, "LA")), "x"), expected[..., None].repeat(3, 2)
    )


def test_what_is_hidden_by_alpha_is_white():
    rgba = zoo.noise(channels=4)
    rgba[..., 3] = 0
    assert (decoded(zoo.saved(rgba, "WEBP", lossless=True, exact=True), "x") == 255).all()


def test_a_transparent_palette_entry_is_white_and_the_others_keep_their_colours():
    palette = Image.fromarray(zoo.blocks()).quantize(16)
    data = zoo.saved(palette, transparency=palette.getpixel((2, 2)))
    expected = MIDDLES.copy()
    expected[0, 0] = 255
    assert off(decoded(data, "x"), expected) <= 12


def test_a_palette_with_half_transparent_entries():
    palette = Image.fromarray(zoo.blocks()).quantize(6)
    picture = decoded(zoo.saved(palette, transparency=bytes([128] * 6)), "x")
    expected = np.round((zoo.blocks()[8::16, 8::16].astype(float) * 128 + 255 * 127) / 255)
    assert off(picture, expected) <= 12


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(kind):
    ramp = np.linspace(0, 65535, 48).astype(np.uint16)[None].repeat(32, 0)
    data = zoo.png(48, 32, 16, 0, zoo.scanlines(ramp)) if kind == "PNG" else zoo.saved(ramp, kind)
    np.testing.assert_array_equal(decoded(data, "x"), np.round(ramp / 257)[..., None].repeat(3, 2))


def test_a_transparent_grey_of_16_bits_is_white():
    ramp = np.arange(48, dtype=np.uint16)[None].repeat(32, 0) * 1000
    data = zoo.png(48, 32, 16, 0, zoo.scanlines(ramp), zoo.chunk(b"tRNS", (5000).to_bytes(2, "big")))
    picture = decoded(data, "x")[..., 0]
    assert (picture[:, 5] == 255).all()
    np.testing.assert_array_equal(picture[:, 6], round(6000 / 257))


def test_16_bit_rgb_and_its_transparent_colour():
    deep = zoo.noise().astype(np.uint16) * 257
    clear = zoo.chunk(b"tRNS", deep[3, 4].astype(">u2").tobytes())
    lines = zoo.scanlines(deep.reshape(17, -1))
    np.testing.assert_array_equal(decoded(zoo.png(21, 17, 16, 2, lines), "x"), zoo.noise())
    expected = zoo.noise().copy()
    expected[3, 4] = 255
    np.testing.assert_array_equal(decoded(zoo.png(21, 17, 16, 2, lines, clear), "x"), expected)


def test_32_bit_and_floating_point_grey_are_scaled():
    steps = np.linspace(0, 1, 48)[None].repeat(32, 0)
    expected = np.round(steps * 255)[..., None].repeat(3, 2)
    for samples in (steps.astype(np.float32), (steps * 1000).astype(np.float32)):
        np.testing.assert_allclose(decoded(zoo.saved(samples, "TIFF"), "x"), expected, atol=1)
    signed = Image.fromarray((steps * (2**31 - 1)).astype(np.int32))
    np.testing.assert_allclose(decoded(zoo.saved(signed, "TIFF"), "x"), expected, atol=1)


def test_numbers_that_are_not_finite_are_refused():
    samples = np.zeros((32, 48), np.float32)
    samples[3, 4] = np.nan
    with pytest.raises(BadFile, match=r"x\.tif.*not finite"):
        decoded(zoo.saved(samples, "TIFF"), "x.tif")


def test_one_bit():
    bits = zoo.noise(channels=1) > 127
    expected = (bits * 255)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(decoded(zoo.saved(Image.fromarray(bits)), "x"), expected)


def test_cmyk():
    rgb = Image.fromarray(zoo.blocks())
    assert off(decoded(zoo.saved(rgb.convert("CMYK"), "JPEG", quality=95), "x")) <= 24
    assert off(decoded(zoo.saved(rgb.convert("CMYK"), "TIFF"), "x")) <= 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animated_picture_the_first_counts(kind):
    first = zoo.blocks()
    rest = [Image.fromarray(np.roll(first, 16 * i, 1)) for i in (1, 2)]
    assert off(decoded(zoo.saved(first, kind, save_all=True, append_images=rest, duration=100), "x")) <= 12


def test_a_colour_profile_is_applied():
    """In a profile of linear light, the value 0.5 is as bright as sRGB 188."""
    linear = zoo.saved(np.full((4, 4, 3), 128, np.uint8), icc_profile=linear_profile())
    assert np.abs(decoded(linear, "x").astype(int) - 188).max() <= 2


def linear_profile() -> bytes:
    """sRGB's own profile with its three curves replaced by gamma 1."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(int.from_bytes(data[128:132], "big")):
        tag = data[132 + 12 * i : 144 + 12 * i]
        start, size = int.from_bytes(tag[4:8], "big"), int.from_bytes(tag[8:12], "big")
        if tag[1:4] == b"TRC":
            data[start : start + size] = (b"curv" + bytes(8)).ljust(size, b"\0")
    return (
        bytes(data).replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be")).replace(b"sRGB", b"line")
    )


@pytest.mark.parametrize("profile", [b"nonsense", bytes(200)])
def test_a_damaged_colour_profile_is_passed_over(profile):
    assert off(decoded(zoo.saved(zoo.blocks(), icc_profile=profile), "x")) == 0


@pytest.mark.parametrize(("name", "data"), zoo.broken().items(), ids=str)
def test_broken_files_are_refused_by_name_with_a_short_reason(name, data):
    refused(decoded, data, name)


def test_an_absurd_size_is_refused_before_decoding():
    for name, pixels in (("absurd.png", "3600000000"), ("large.png", "121000000")):
        with pytest.raises(BadFile, match=f"claims {pixels} pixels"):
            decoded(zoo.broken()[name], name)


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_is_refused_unless_every_pixel_is_there(name, share):
    data = WHOLE[name]
    try:
        picture = decoded(data[: int(share * len(data))], name)
    except BadFile:
        return
    np.testing.assert_array_equal(picture, decoded(data, name))


@given(
    st.sampled_from(["noise.png", "blocks.png", "palette.png"]), st.integers(0, 10**6), st.integers(1, 255)
)
def test_a_png_with_a_wrong_byte_is_refused_or_read_exactly(name, where, flip):
    data = bytearray(WHOLE[name])
    data[where % len(data)] ^= flip
    try:
        picture = decoded(bytes(data), name)
    except BadFile:
        return
    np.testing.assert_array_equal(picture, decoded(WHOLE[name], name))


@given(
    st.sampled_from([n for n in sorted(WHOLE) if not n.endswith("tif")]),
    st.lists(st.tuples(st.integers(0), st.binary(max_size=9))),
)
def test_no_damage_does_anything_but_refuse(name, wounds):
    with warnings.catch_warnings(record=True) as caught:
        try:
            picture = decoded(wounded(WHOLE[name], wounds), name)
        except BadFile:
            picture = np.zeros((1, 1, 3), np.uint8)
    assert not caught
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


@given(st.binary(max_size=200))
def test_no_bytes_crash(data):
    with pytest.raises(BadFile):
        decoded(data, "x")


def test_nothing_outside_is_opened():
    """EPS would start Ghostscript; only the listed formats are tried."""
    with pytest.raises(BadFile, match="not a picture"):
        decoded(zoo.broken()["script.eps"], "script.png")
    assert Image.open(io.BytesIO(zoo.broken()["script.eps"])).format == "EPS"
