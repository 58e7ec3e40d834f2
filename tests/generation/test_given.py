"""Samples that are made from a file: what is kept is kept, and the rest is made."""

import dataclasses
import json

import pytest
import torch
from PIL import Image as Pillow

from mmdiff import cli
from mmdiff.diffusion.samplers import SAMPLERS
from mmdiff.errors import UserError
from mmdiff.generation.engine import Engine
from mmdiff.generation.given import Given, Known
from mmdiff.generation.model import build
from mmdiff.generation.pipeline import Pipeline, load, regenerate
from mmdiff.generation.request import Request
from mmdiff.modalities import Image
from mmdiff.recipe import Recipe, Sampling
from tests.generation.conftest import RECIPE, lively


@pytest.fixture(scope="module")
def pipeline(run) -> Pipeline:
    return load(run)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a@b~c.png"
    colours = torch.randint(
        0, 256, (16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    Pillow.fromarray(colours.numpy()).save(path)
    return path


def pixels(path) -> torch.Tensor:
    with Pillow.open(path) as picture:
        return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(16, 16, 3)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim(eta=1)", "heun", "unipc_3"])
def test_known_pixels_come_back_exactly_and_the_others_are_made(pipeline, photo, sampler):
    one, two = pipeline.sample("dog", n=2, given=f"{photo}@8x16+0+0", sampler=sampler)
    before = pixels(photo)
    for made in (one, two):
        assert torch.equal(made.sample.value[:, :8], before[:, :8])
        assert not torch.equal(made.sample.value[:, 8:], before[:, 8:])
    assert not torch.equal(one.sample.value[:, 8:], two.sample.value[:, 8:])


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("given", [0.0, 0.5])
def test_every_sampler_keeps_what_is_known_beside_requests_that_know_nothing(model, name, given):
    recipe = RECIPE if not given else with_given(given)
    model = model if not given else lively(build(recipe))
    program = model.program(Sampling(sampler=name, grid="karras(rho_max=40)", steps=3))
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 3:9, 2:] = True
    known = Known(torch.randn(3, 16, 16), mask, varied=False)
    request, other = Request((3, 16, 16), program, known=known), Request((3, 16, 16), program, seed=1)
    alone = {r: next(iter(Engine(model).run([r]))).x0 for r in (request, other)}
    assert torch.equal(alone[request][:, mask[0]], known.x0[:, mask[0]])
    together = {f.request: f.x0 for f in Engine(model).run([other, request])}
    assert all(torch.equal(alone[r], together[r]) for r in alone)


def with_given(share: float) -> Recipe:
    return dataclasses.replace(RECIPE, training=dataclasses.replace(RECIPE.training, given=share))


def test_a_variation_keeps_more_the_weaker_it_is(pipeline, photo):
    before = pixels(photo).float()

    def change(strength: float) -> float:
        (made,) = pipeline.sample("dog", given=f"{photo}~{strength}", steps=16)
        return float((made.sample.value.float() - before).abs().mean())

    changes = [change(strength) for strength in (0.1, 0.5, 0.9)]
    assert changes == sorted(changes)
    assert changes[0] < changes[2] / 2
    (made,) = pipeline.sample("dog", given=f"{photo}~0.5", steps=16)
    assert made.provenance["calls"] == 8
    (made,) = pipeline.sample("dog", given=f"{photo}~1", steps=16)
    assert made.provenance["calls"] == 16
    assert not (made.sample.value == before).all(-1).any()


def test_a_varied_part_beside_a_kept_one(pipeline, photo):
    (made,) = pipeline.sample("dog", given=f"{photo}@-4x4+6+6~0.5")
    outside = Image(16, 16).kept("-4x4+6+6", torch.zeros(3, 16, 16, dtype=torch.uint8))[0]
    assert torch.equal(made.sample.value[outside], pixels(photo)[outside])
    assert not torch.equal(made.sample.value[~outside], pixels(photo)[~outside])


def test_parts_of_two_files_of_which_the_later_stands_before_the_first(pipeline, run, photo, tmp_path):
    other = tmp_path / "other.png"
    Pillow.new("RGB", (16, 16), (9, 8, 7)).save(other)
    (made,) = pipeline.sample("dog", given=[f"{photo}@8x16+0+0", f"{other}@4x16+6+0"])
    value, before = made.sample.value, pixels(photo)
    assert torch.equal(value[:, :6], before[:, :6])
    assert torch.equal(value[:, 6:10], pixels(other)[:, 6:10])
    assert not torch.equal(value[:, 10:], before[:, 10:])
    assert torch.equal(regenerate(json.loads(json.dumps(made.provenance)), run).sample.value, value)
    (varied,) = pipeline.sample("dog", given=[f"{other}@4x16+6+0", f"{photo}~0.05"], steps=20)
    assert torch.equal(varied.sample.value[:, 6:10], pixels(other)[:, 6:10])
    (alone,) = pipeline.sample("dog", given=f"{other}@4x16+6+0", steps=20)
    near, far = ((v.sample.value.float() - before)[:, :6].abs().mean() for v in (varied, alone))
    assert near < far / 2


def test_it_is_made_again_from_the_same_file_and_from_no_other(pipeline, run, photo, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(photo.read_bytes())
    (made,) = pipeline.sample("dog", given=f"{copy}@8x16+0+0")
    provenance = json.loads(json.dumps(made.provenance))
    assert torch.equal(regenerate(provenance, run).sample.value, made.sample.value)
    Pillow.new("RGB", (16, 16)).save(copy)
    with pytest.raises(UserError, match=r"copy\.png: has changed"):
        regenerate(provenance, run)
    copy.unlink()
    with pytest.raises(UserError, match=r"no such file: .*copy\.png"):
        regenerate(provenance, run)
    with pytest.raises(UserError, match="'given' is"):
        regenerate(provenance | {"given": [{"file": "x"}]}, run)
    with pytest.raises(UserError, match="'given' is"):
        regenerate(provenance | {"given": [provenance["given"][0] | {"strength": "much"}]}, run)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("{photo}", "all of a sample of 16x16 is kept"),
        ("{photo}@16x16+0+0", "all of a sample of 16x16 is kept"),
        ("{photo}@4x4+16+0", "nothing of it is kept"),
        ("{photo}@left", "got the box 'left', expected WIDTHxHEIGHT+LEFT+TOP"),
        ("{photo}~0", "got the strength '0', expected a number above 0"),
        ("{photo}~much", "got the strength 'much'"),
        ("none.png", "no such file: none.png; expected FILE[:START][@PLACES][~STRENGTH]"),
        ("none.png@1x1+0+0", "no such file: none.png"),
        ("{photo}:3", "start '3': got it for a picture"),
        ("{photo}~", "got '~' after the file; expected FILE[:START]"),
        ("{photo}@", "got '@' after the file"),
        ("{photo}:3~0.5", "what is varied begins where the sample does; got :3"),
        ("{photo}~0.5 {photo}~0.4", "is varied already; expected one such file"),
        ("{photo}@8x16+0+0 {photo}@4x4+16+0", "nothing of it is kept"),
        ("{photo}@8x16+0+0 {photo}@8x16+8+0", "all of a sample of 16x16 is kept"),
    ],
)
def test_what_cannot_be_is_said(pipeline, photo, spec, says):
    with pytest.raises(UserError) as error:
        pipeline.sample("dog", given=spec.format(photo=photo).split())
    assert says in str(error.value)


def test_specs_are_read_from_the_right(photo):
    assert Given.parse(str(photo)) == Given(str(photo))
    assert Given.parse(f"{photo}~0.25") == Given(str(photo), "", 0.25)
    assert Given.parse(f"{photo}@1x1+0+0~0.25") == Given(str(photo), "1x1+0+0", 0.25)
    assert Given.parse(f"{photo}~1") == Given(str(photo), "", 1.0)
    assert Given.parse(f"{photo}:1.5") == Given(str(photo), start="1.5")
    assert Given.parse(f"{photo}:8@9-") == Given(str(photo), "9-", start="8")


def test_by_the_words_of_the_command_line(run, photo, tmp_path, capsys):
    parts = ["--given", f"{photo}@16x4+0+0", "--given", f"{photo}@16x4+0+12"]
    words = ["sample", str(run), *parts, "--out", str(tmp_path), "--prompt", "dog"]
    assert cli.main(words) == 0
    path = capsys.readouterr().out.strip()
    assert torch.equal(pixels(path)[:4], pixels(photo)[:4])
    assert torch.equal(pixels(path)[12:], pixels(photo)[12:])
    assert cli.main(["regenerate", path, "--out", str(tmp_path / "again.png")]) == 0
    assert "identical" in capsys.readouterr().out
    assert cli.main(["sample", str(run), "--given", "none.png", "--out", str(tmp_path)]) == 2
