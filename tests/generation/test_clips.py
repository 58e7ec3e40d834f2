"""Clips from a picture, from parts of a clip, and from the net of pictures that they are born from."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow

from mmdiff import cli
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.errors import UserError
from mmdiff.evaluation.evaluate import draw
from mmdiff.generation import given as from_file
from mmdiff.generation.asked import Asked
from mmdiff.generation.given import opened
from mmdiff.generation.model import Model, build
from mmdiff.generation.pipeline import Pipeline, load, regenerate
from mmdiff.modalities import Sample, Video
from mmdiff.nets import Given
from mmdiff.recipe import ConditionSpec, Data, Net, Recipe
from mmdiff.training.inherit import inherit
from tests.generation.conftest import RECIPE, lively, save

CLIPS = dataclasses.replace(
    RECIPE,
    modality="video",
    data=Data(size="16x12", frames=4, fps="24"),
    net=Net(size="custom", patch=2, width=16, mults=(1, 2), blocks=1, attention=(1,)),
    conditions={"style": ConditionSpec(kind="label", values=("google", "apple"))},
)


def with_given(recipe: Recipe, share: float = 0.5) -> Recipe:
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, given=share))


@pytest.fixture(scope="module", params=[(0.0, "fp32"), (0.5, "bf16")], ids=["uninformed", "informed"])
def pipeline(request, tmp_path_factory) -> Pipeline:
    share, precision = request.param
    recipe = with_given(CLIPS, share)
    run = save(lively(build(recipe)), tmp_path_factory.mktemp("clips") / "run", recipe=recipe)
    return load(run, precision=precision)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_frames_that_share_all_noise_differ_no_more(tmp_path, sampler):
    """A new net treats all frames alike, so what differs between them is their noise."""
    for name, shared in (("own", 0.0), ("common", 1.0)):
        diffusion = dataclasses.replace(CLIPS.diffusion, shared_noise=shared)
        recipe = dataclasses.replace(CLIPS, diffusion=diffusion)
        run = save(build(recipe), tmp_path / name, recipe=recipe)
        pipeline = load(run, precision="fp32")
        (clip,) = pipeline.sample(sampler=sampler)
        (judged,), _ = draw(
            pipeline, [Asked.of({}, {}, pipeline.model, pipeline.model.modality)], pipeline.recipe.sampling, 0
        )
        for frames in (clip.sample.value, judged.movedim(1, 0)):
            assert torch.equal(frames, frames[:1].expand_as(frames)) == bool(shared)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Noise as a picture of the run's size, as a larger JPEG, and as a clip."""
    folder, dice = tmp_path_factory.mktemp("files"), torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (6, 12, 16, 3), dtype=torch.uint8, generator=dice)
    Pillow.fromarray(noise[0].numpy()).save(folder / "a.png")
    Pillow.fromarray(noise[1].numpy()).resize((50, 40)).save(folder / "a.jpg")
    Video(16, 12, 6).write(Sample(noise, fps=Fraction(24)), folder / "a.gif")
    return folder


@pytest.mark.parametrize("given", ["a.png", "a.png@0", "a.jpg@0"])
def test_a_picture_is_the_first_frame_exactly_and_the_others_are_made(pipeline, files, given):
    one, two = (sample.sample.value for sample in pipeline.sample(n=2, given=f"{files / given}"))
    name = files / given.partition("@")[0]
    modality = pipeline.model.modality
    photo = modality.read(name.read_bytes(), name.name).value
    assert photo.shape == (1, 12, 16, 3)
    for made in (one, two):
        assert torch.equal(made[0], photo[0])
        assert not torch.equal(made[1], photo[0])
    assert not torch.equal(one[1:], two[1:])


def test_a_picture_stands_in_the_frames_that_are_named(pipeline, files):
    (made,) = pipeline.sample(given=f"{files / 'a.png'}@0,3")
    photo = pipeline.model.modality.read((files / "a.png").read_bytes(), "a.png").value[0]
    frames = made.sample.value
    assert [torch.equal(frame, photo) for frame in frames] == [True, False, False, True]
    (still,) = pipeline.sample(given=f"{files / 'a.png'}@-4x4+2+2")
    same = (still.sample.value == photo).all(-1).all(0)
    assert bool(same[:2].all())
    assert bool(same[6:].all())
    assert not bool(same[2:6, 2:6].any())


def test_a_clip_of_which_one_frame_is_seen_is_no_picture(pipeline, files, tmp_path):
    """It stands where it begins, and not in whatever frames are named."""
    modality, short = pipeline.model.modality, tmp_path / "short.gif"
    frames = torch.stack([torch.zeros(12, 16, 3), torch.full((12, 16, 3), 255)]).byte()
    Video(16, 12, 2).write(Sample(frames, fps=Fraction(50)), short)
    seen = {f"{files / 'a.png'}@0-3": 4 * [True], f"{files / 'a.gif'}:3@0-3": [False, False, False, True]}
    for spec, kept in {**seen, f"{short}@0-3": [True, False, False, False]}.items():
        source = opened(from_file.Given.parse(spec), modality)
        assert source.packed.shape[1] == 1
        assert source.mask(modality).flatten(2).any(2).tolist() == [kept]


def test_between_two_pictures_and_before_a_clip(pipeline, files):
    modality = pipeline.model.modality
    photo, other, clip = (
        modality.read((files / name).read_bytes(), name).value for name in ("a.png", "a.jpg", "a.gif")
    )
    (made,) = pipeline.sample(given=[f"{files / 'a.png'}@0", f"{files / 'a.jpg'}:3"])
    assert torch.equal(made.sample.value[[0, 3]], torch.cat([photo, other]))
    assert not torch.equal(made.sample.value[1], photo[0])
    (made,) = pipeline.sample(given=f"{files / 'a.gif'}:2")
    assert torch.equal(made.sample.value[2:], clip[:2])
    assert not torch.equal(made.sample.value[:2], clip[:2])
    (made,) = pipeline.sample(given=f"{files / 'a.gif'}:1@2-")
    assert torch.equal(made.sample.value[2:], clip[1:3])
    assert not torch.equal(made.sample.value[1], clip[0])
    with pytest.raises(UserError, match="got :1 and @0,3 of a picture, which stands in the frames that are"):
        pipeline.sample(given=f"{files / 'a.png'}:1@0,3")
    with pytest.raises(
        UserError, match="nothing of it, from 3 on, is kept"
    ):  # though one frame of it is left
        pipeline.sample(given=f"{files / 'a.gif'}:3@0-2")
    for start in ("4", "1.5", "-1", "x"):
        with pytest.raises(UserError, match=f"start '{start}': expected a frame from 0 on, below 4"):
            pipeline.sample(given=f"{files / 'a.gif'}:{start}")


@pytest.mark.parametrize(
    ("places", "frames", "rows"),
    [("@0-1", [0, 1], slice(None)), ("@3", [3], slice(None)), ("@-16x6+0+0", [0, 1, 2, 3], slice(6, None))],
)
def test_frames_and_boxes_of_a_clip_are_kept_exactly(pipeline, files, places, frames, rows):
    (made,) = pipeline.sample("", given=f"{files / 'a.gif'}{places}", seed=3, sampler="ddim(eta=1)")
    modality = pipeline.model.modality
    before = modality.pack(modality.read((files / "a.gif").read_bytes(), "a.gif")).permute(1, 2, 3, 0)
    assert torch.equal(made.sample.value[frames][:, rows], before[frames][:, rows])
    kept = modality.kept(places[1:], before.permute(3, 0, 1, 2))[0]
    assert not torch.equal(made.sample.value[~kept], before[:4][~kept])


def test_a_clip_does_not_depend_on_its_neighbours_and_is_made_again(pipeline, files):
    photo = f"{files / 'a.png'}@0"
    words = {"steps": 3, "guidance": 2.0, "style": "google"}
    alone = next(pipeline.sample(seed=1, given=photo, **words))
    beside = list(pipeline.sample(n=3, seed=1, given=photo, **words))
    assert torch.equal(alone.sample.value, beside[0].sample.value)
    again = regenerate(json.loads(json.dumps(alone.provenance)))
    assert torch.equal(again.sample.value, alone.sample.value)
    assert again.sample.fps == 24
    assert again.modality.to_bytes(again.sample, ".mp4", again.provenance) == alone.modality.to_bytes(
        alone.sample, ".mp4", alone.provenance
    )


def test_a_folder_of_frames_is_made_again(pipeline, tmp_path, capsys):
    words = ["--steps", "2", "--format", "frames", "--out", str(tmp_path / "out")]
    assert cli.main(["sample", str(pipeline.origin.run), *words]) == 0
    folder, again = Path(capsys.readouterr().out.strip()), tmp_path / "again"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{k:05}.png" for k in range(4)]
    assert cli.main(["inspect", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert cli.main(["regenerate", str(folder), "--out", str(again)]) == 0
    assert "byte for byte" in capsys.readouterr().out
    one, two = ([path.read_bytes() for path in sorted(each.iterdir())] for each in (folder, again))
    assert one == two
    Pillow.new("RGB", (16, 12)).save(folder / "00001.png")
    assert cli.main(["regenerate", str(folder)]) == 1
    assert "not identical" in capsys.readouterr().out


def test_any_size_length_and_rate(pipeline):
    (made,) = pipeline.sample(size="9x7x5@24000/1001")
    assert made.sample.value.shape == (5, 7, 9, 3)
    assert made.sample.fps == Fraction(24000, 1001)
    assert made.picture.size == (18, 21)


def test_a_rate_is_told_to_the_network(tmp_path):
    """Asked for another rate, a model draws what it would if that were the rate of its training."""
    made = []
    for name, fps in (("slow", "12"), ("fast", "24")):
        recipe = dataclasses.replace(CLIPS, data=dataclasses.replace(CLIPS.data, fps=fps))
        pipeline = load(save(lively(build(recipe)), tmp_path / name, recipe=recipe))
        both = [next(pipeline.sample(style="apple", size=f"16x12x4@{rate}")) for rate in (12, 24)]
        made.append([one.sample.value for one in both])
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])
    assert not torch.equal(made[0][0], made[0][1])


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_run_that_starts_from_pictures_draws_each_frame_as_they_do(tmp_path, share):
    """Before any step, whether or not it sees more channels than they did."""
    pictures = dataclasses.replace(CLIPS, modality="image")
    parent: Model = lively(build(pictures))
    origin = save(parent, tmp_path / "pictures", recipe=pictures)
    asked = dataclasses.replace(with_given(CLIPS, share), init=str(origin))
    clips = build(asked).eval()
    inherit(clips, asked)
    raws = [{"style": "apple"}, {}]
    x = torch.randn(2, 3, 4, 12, 16)
    level = NoiseLevel(torch.tensor([0.6, 0.2]), torch.tensor([0.8, 1.0]))

    def condition(model: Model):
        ids, present = (
            {"style": torch.stack([getattr(model.conditions, what)(raw)["style"] for raw in raws])}
            for what in ("ids", "present")
        )
        return model.conditions(ids, present, 2)

    known = Given(torch.zeros(2, 1, 4, 12, 16, dtype=torch.bool), torch.zeros_like(x))
    born = clips.denoiser(x, level, clips.beside(condition(clips), known, None))
    for frame in range(4):
        alone = parent.denoiser(x[:, :, frame], level, condition(parent))
        torch.testing.assert_close(born[:, :, frame], alone, rtol=1e-5, atol=1e-5)
    assert born.abs().max() > 0.1
