import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from mmdiff import recipe as recipes
from mmdiff.errors import UserError
from mmdiff.modalities import MODALITIES, BadFile, Image, Sample, modality_of

SIZES = st.integers(1, 24)
JSON = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers()),
    max_size=4,
)


def random(width: int, height: int, seed: int = 0) -> Sample:
    return Sample(
        torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))
    )


@given(SIZES, SIZES, st.integers(0, 9))
def test_a_picture_of_the_right_size_survives_exactly(width, height, seed):
    sample, modality = random(width, height, seed), Image(width, height)
    x0 = modality.encode(sample)
    assert x0.shape == modality.shape == (3, height, width)
    assert x0.dtype == torch.float32
    assert x0.abs().max() <= 1
    assert torch.equal(modality.decode(x0).value, sample.value)
    assert torch.equal(x0, modality.unpack(modality.pack(sample)))


def test_every_value_survives_exactly():
    values = torch.arange(256, dtype=torch.uint8)[None, :, None].repeat(1, 1, 3)
    modality = Image(256, 1)
    x0 = modality.encode(Sample(values))
    assert (x0[0, 0, 0], x0[0, 0, -1]) == (-1, 1)
    assert torch.equal(modality.decode(x0).value, values)


def test_decoding_clamps_and_rounds():
    x0 = torch.tensor([-7.0, -1.0, 0.004, 1.0, 9.0]).repeat(3, 1, 1)
    assert Image(5, 1).decode(x0).value[0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_no_picture(wrong):
    x0 = torch.zeros(3, 4, 4)
    x0[1, 2, 3] = wrong
    with pytest.raises(ValueError, match="not finite"):
        Image(4, 4).decode(x0)


@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 255))
def test_a_flat_picture_stays_flat_at_any_size(width, height, to_width, to_height, grey):
    sample = Sample(torch.full((height, width, 3), grey, dtype=torch.uint8))
    assert (Image(to_width, to_height).pack(sample) == grey).all()


@given(SIZES, SIZES, SIZES, SIZES)
def test_mirroring_the_picture_mirrors_what_is_encoded(width, height, to_width, to_height):
    sample, modality = random(width, height), Image(to_width, to_height)
    plain = modality.pack(sample).int()
    for axis in (0, 1):
        mirrored = modality.pack(Sample(sample.value.flip(axis))).int().flip(axis + 1)
        assert (plain - mirrored).abs().max() <= 1


@pytest.mark.parametrize(("width", "height"), [(96, 32), (32, 96), (320, 100)])
def test_the_middle_is_kept_and_the_picture_covered(width, height):
    """A cross through the middle of a long picture goes through that of the square cut from it."""
    value = np.zeros((height, width, 3), np.uint8)
    value[height // 2 - 2 : height // 2 + 2] = 255
    value[:, width // 2 - 2 : width // 2 + 2] = 255
    packed = Image(32, 32).pack(Sample(torch.from_numpy(value))).float().mean(0)
    assert torch.allclose(packed, packed.T, atol=4)
    assert torch.allclose(packed, packed.flip(0), atol=2)
    assert packed[15:17].min() > 100


def test_shrinking_does_not_alias():
    """Stripes too fine for the small picture become their mean, and not coarse stripes."""
    value = np.zeros((70, 70, 3), np.uint8)
    value[:, ::2] = 255
    packed = Image(10, 10).pack(Sample(torch.from_numpy(value))).float()
    assert (packed - 127.5).abs().max() < 8


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
def test_a_written_picture_is_read_back_exactly(tmp_path, suffix):
    sample, modality, path = random(21, 17), Image(), tmp_path / f"a{suffix}"
    modality.write(sample, path, {"prompt": "x"})
    assert torch.equal(modality.read(path.read_bytes(), "a").value, sample.value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_jpeg_is_near(tmp_path):
    flat = Sample(torch.tensor([200, 60, 20], dtype=torch.uint8).repeat(16, 16, 1))
    Image().write(flat, tmp_path / "a.jpg")
    error = Image().read((tmp_path / "a.jpg").read_bytes(), "a").value.int() - flat.value.int()
    assert error.abs().max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@given(provenance=JSON)
def test_provenance_is_read_back_from_every_kind(tmp_path_factory, suffix, provenance):
    path = tmp_path_factory.mktemp("out") / f"a{suffix}"
    Image().write(random(3, 3), path, provenance)
    assert Image.read_provenance(path) == provenance


def test_streams_take_a_png(tmp_path):
    stream = io.BytesIO()
    Image().write(random(3, 3), stream, {"seed": 1})
    assert stream.getvalue().startswith(b"\x89PNG")
    assert Image.read_provenance(stream.getvalue()) == {"seed": 1}


def test_the_provenance_is_plain_for_other_programs(tmp_path):
    provenance = {"prompt": "ein rotes Herz \u2764\ufe0f", "seed": 7}
    for suffix in (".png", ".jpg"):
        Image().write(random(3, 3), tmp_path / f"a{suffix}", provenance)
    with Pillow.open(tmp_path / "a.png") as picture:
        assert json.loads(picture.text["mmdiff"]) == provenance
    with Pillow.open(tmp_path / "a.jpg") as picture:
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"ASCII\0\0\0"
    assert json.loads(comment[8:]) == provenance


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_pictures_of_others_have_no_provenance(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image().write(random(3, 3), path)
    assert Image.read_provenance(path) is None
    exif = Pillow.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0holiday [1]"
    Image().preview(random(3, 3)).save(path, exif=exif)
    assert Image.read_provenance(path) is None


def test_wrong_files_are_told_by_name(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    for path in (tmp_path / "a.png", tmp_path / "gone.png"):
        with pytest.raises(UserError, match=path.name):
            Image.read_provenance(path)
    with pytest.raises(UserError, match=r"'\.gif'.*\.png"):
        Image().write(random(3, 3), tmp_path / "a.gif")
    with pytest.raises(UserError, match="does not fit"):
        Image().write(random(3, 3), tmp_path / "a.jpg", {"prompt": "x" * 70_000})
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(BadFile, match=r"b\.png: empty file"):
        Image().read(b"", "b.png")


def test_the_preview_is_the_picture():
    sample = random(5, 4)
    np.testing.assert_array_equal(np.asarray(Image().preview(sample)), sample.value)
    assert Image().facts(sample) == {"width": 5, "height": 4}


def test_a_recipe_names_modality_and_size(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("modality: image\ndata: {size: 48x32}\ntraining: {steps: 1}\n")
    recipe = recipes.load(path)
    assert modality_of(recipe) == Image(48, 32)
    assert MODALITIES["image"] is Image
    with pytest.raises(UserError, match=r"'imag'.*did you mean 'image'"):
        modality_of(recipe.override(["modality=imag"]))
    with pytest.raises(UserError, match="0x4"):
        Image(0, 4)


def test_boxes_are_kept_or_all_but_them():
    modality, packed = Image(8, 6), torch.zeros(3, 6, 8, dtype=torch.uint8)
    expected = torch.zeros(1, 6, 8, dtype=torch.bool)
    expected[0, 1:3, 2:7] = True
    assert modality.kept("", packed).all()
    assert torch.equal(modality.kept("5x2+2+1", packed), expected)
    assert torch.equal(modality.kept("-5x2+2+1", packed), ~expected)
    expected[0, 5, 0] = True
    assert torch.equal(modality.kept("5x2+2+1, 1x9+0+5", packed), expected)
    with pytest.raises(UserError, match=r"got the box '5x2', expected WIDTHxHEIGHT\+LEFT\+TOP"):
        modality.kept("5x2", packed)
