"""Clips longer than those of training: windows that go on from each other, exactly and in little memory."""

import dataclasses
import gc
import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from mmdiff import cli
from mmdiff.errors import UserError
from mmdiff.generation.model import build, check
from mmdiff.generation.pipeline import Pipeline, load, regenerate
from mmdiff.generation.windows import Reel, Take
from mmdiff.modalities import Sample, Video
from mmdiff.recipe import Sampling
from tests.generation.conftest import lively, save
from tests.generation.test_clips import CLIPS, with_given

F, K, WIDTH, HEIGHT = 6, 2, 8, 6
RECIPE = dataclasses.replace(
    CLIPS,
    data=dataclasses.replace(CLIPS.data, size=f"{WIDTH}x{HEIGHT}", frames=F),
    sampling=Sampling(steps=2, guidance=2.0, overlap=K),
)


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["uninformed", "informed"])
def pipeline(request, tmp_path_factory) -> Pipeline:
    recipe = with_given(RECIPE, request.param)
    return load(save(lively(build(recipe)), tmp_path_factory.mktemp("long") / "run", recipe=recipe))


@pytest.fixture
def windows(monkeypatch):
    """Every window as it lands: the number of frames before it, and what it shows."""
    seen, land = [], Take.land

    def spy(take, x0):
        start = take._windows.starts[take._number]
        seen.append((start, take._model.decode(x0, take._windows.each).value))
        land(take, x0)

    monkeypatch.setattr(Take, "land", spy)
    return seen


def size(frames: int) -> str:
    return f"{WIDTH}x{HEIGHT}x{frames}@24"


def one(pipeline: Pipeline, frames: int, **words) -> torch.Tensor:
    (made,) = pipeline.sample(size=size(frames), **words)
    return made.sample.value


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Twelve frames of noise."""
    path = tmp_path_factory.mktemp("files") / "a.gif"
    noise = torch.randint(0, 256, (12, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(0))
    Video(WIDTH, HEIGHT, 12).write(Sample(noise.to(torch.uint8), fps=Fraction(24)), path)
    return path


def frames_of(file) -> torch.Tensor:
    return Video(WIDTH, HEIGHT, 12, Fraction(24)).read(file.read_bytes(), file.name).value


@pytest.mark.parametrize("overlap", [1, K, F - 1])
def test_any_length_is_exact_and_begins_as_the_short_clip(pipeline, overlap):
    short = one(pipeline, F)
    for frames in range(1, 3 * F + 1):
        made = one(pipeline, frames, overlap=overlap)
        assert made.shape == (frames, HEIGHT, WIDTH, 3)
        if frames >= F:
            assert torch.equal(made[:F], short)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim(eta=1)"])
def test_each_window_begins_with_the_end_of_the_one_before(pipeline, windows, sampler):
    made = one(pipeline, 3 * F - 1, sampler=sampler)
    assert [start for start, _ in windows] == [0, 4, 8, 12]
    for start, window in windows:
        assert torch.equal(window[: 3 * F - 1 - start], made[start : start + F])
    rest = [window[K:] for _, window in windows]
    assert not any(torch.equal(a, b) for a in rest for b in rest if a is not b)


def test_a_longer_clip_is_the_shorter_one_and_more(pipeline):
    longest = one(pipeline, 4 * F, seed=1)
    for frames in (F + 1, 2 * F, 3 * F):
        assert torch.equal(one(pipeline, frames, seed=1), longest[:frames])


def test_it_depends_on_no_neighbour_and_is_made_again(pipeline, tmp_path):
    words = {"size": size(2 * F + 1), "seed": 3, "style": "google", "sampler": "ddim(eta=1)", "overlap": 3}
    (alone,) = pipeline.sample(**words, first=2)
    crowd = list(pipeline.sample(**words, n=11))
    assert torch.equal(crowd[2].sample.value, alone.sample.value)
    assert len({one.sample.value.numpy().tobytes() for one in crowd}) == 11
    assert alone.provenance["overlap"] == 3
    again = regenerate(json.loads(json.dumps(alone.provenance)))
    assert torch.equal(again.sample.value, alone.sample.value)
    for made, name in ((alone, "one.mp4"), (again, "two.mp4")):
        made.save(tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert (tmp_path / "one.mp4").read_bytes() == again.modality.to_bytes(
        again.sample, ".mp4", again.provenance
    )


@pytest.mark.parametrize("given", [False, True])
def test_the_rows_that_are_told_are_those_that_are_evaluated(pipeline, file, given):
    told, given = [], str(file) if given else None
    list(pipeline.sample(n=3, size=size(4 * F), given=given, progress=lambda *rows: told.append(rows)))
    assert told[-1] == (told[0][1], told[0][1])


def test_samples_come_in_order_and_the_first_before_the_last_is_begun(pipeline):
    stream = pipeline.sample(n=40, size=size(2 * F), progress=lambda *rows: told.append(rows))
    told = []
    assert next(stream).index == 0
    assert told[-1][0] < told[-1][1] / 2
    assert [made.index for made in stream] == list(range(1, 40))


@pytest.mark.parametrize("places", ["", "@0-1", "@0-7", "@3x6+0+0", "@-0-3,9-10", "@11-", "@5"])
@pytest.mark.parametrize("frames", [13, 14, 3 * F])
def test_what_is_given_of_any_window_is_kept(pipeline, file, places, frames):
    (made, other) = pipeline.sample(n=2, size=size(frames), given=f"{file}{places}")
    before = frames_of(file)
    kept = Video(WIDTH, HEIGHT, frames, Fraction(24)).kept(places[1:], before.permute(3, 0, 1, 2))[0]
    padded = torch.cat([before, torch.zeros(frames - 12, HEIGHT, WIDTH, 3, dtype=torch.uint8)])
    assert torch.equal(made.sample.value[kept], padded[kept])
    assert torch.equal(other.sample.value[kept], padded[kept])
    assert not torch.equal(made.sample.value[~kept], other.sample.value[~kept])
    again = regenerate(json.loads(json.dumps(made.provenance)))
    assert torch.equal(again.sample.value, made.sample.value)


def test_a_picture_begins_a_long_clip_as_it_begins_a_short_one(pipeline, file):
    given = f"{file}@0"
    assert torch.equal(one(pipeline, 3 * F, given=given)[:F], one(pipeline, F, given=given))


def test_a_long_clip_between_two_others(pipeline, file):
    before, frames = frames_of(file), 4 * F
    made = one(pipeline, frames, given=[f"{file}@0-2", f"{file}:{frames - 4}"])
    assert torch.equal(made[:3], before[:3])
    assert torch.equal(made[-4:], before[:4])
    assert not torch.equal(made[3:12], before[3:12])


def test_the_network_is_not_asked_for_what_the_file_holds_whole(pipeline, file, windows):
    told = []
    list(pipeline.sample(size=size(20), given=str(file), progress=lambda *rows: told.append(rows)))
    assert [start for start, _ in windows] == [0, 4, 8, 12, 16]
    assert told[-1][0] == 3 * 2  # two windows lie within the twelve frames


def test_all_of_a_long_clip_can_be_varied(pipeline, file):
    before = frames_of(file).float()
    changes = [
        float((one(pipeline, 11, given=f"{file}~{strength}", steps=16)[:11] - before[:11]).abs().mean())
        for strength in (0.1, 0.9)
    ]
    assert changes[0] < changes[1] / 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"given": "{file}", "size": size(12)}, f"all of a sample of {size(12)} is kept"),
        ({"given": "{file}", "size": size(8)}, f"all of a sample of {size(8)} is kept"),
        ({"given": "{file}@11", "size": size(11)}, "nothing of it is kept"),
        ({"given": "{file}@12-", "size": size(20)}, "nothing of it is kept"),
        ({"overlap": F}, f"sampling.overlap: got {F}, expected at least 1 and less than the {F} frames"),
        ({"overlap": 0}, "overlap is 0; expected a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_is_said(pipeline, file, words, says):
    words = {key: value.format(file=file) if key == "given" else value for key, value in words.items()}
    with pytest.raises(UserError) as error:
        pipeline.sample(**words)
    assert says in str(error.value)


def test_a_recipe_whose_windows_could_not_move_on_is_refused():
    with pytest.raises(UserError, match="less than the 2 frames"):
        check(dataclasses.replace(RECIPE, data=dataclasses.replace(RECIPE.data, frames=2)))


def test_clips_of_one_frame_do_not_grow(tmp_path):
    recipe = dataclasses.replace(
        RECIPE, data=dataclasses.replace(RECIPE.data, frames=1), sampling=Sampling(steps=1)
    )
    pipeline = load(save(lively(build(recipe)), tmp_path / "run", recipe=recipe))
    assert one(pipeline, 1).shape[0] == 1
    with pytest.raises(UserError, match="expected 1 frame"):
        pipeline.sample(size=size(2))


def bytes_of_tensors() -> int:
    """Of all that are alive."""
    gc.collect()
    alive = [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]
    return sum({s.data_ptr(): s.nbytes() for s in (found.untyped_storage() for found in alive)}.values())


def test_only_the_windows_on_their_way_are_in_memory(pipeline, monkeypatch):
    """However long the clip: what was written to disk is let go of."""
    written, alive, add = [], {}, Reel.add

    def spy(reel, frames):
        add(reel, frames)
        written.append(len(frames))
        if len(written) in (3, 17):
            alive[len(written)] = bytes_of_tensors()

    monkeypatch.setattr(Reel, "add", spy)
    assert len(one(pipeline, 12 * F)) == sum(written) == 12 * F
    assert len(written) == 18
    assert max(written) <= F
    assert alive[17] <= alive[3]


def test_seconds_by_the_words_of_the_command_line(pipeline, tmp_path, capsys):
    words = ["sample", pipeline.origin.run, "--seconds", "0.6", "--overlap", "1", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    path = capsys.readouterr().out.strip()
    assert cli.main(["inspect", path]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["size"], told["overlap"]) == (size(14), 1)
    again = tmp_path / "new" / Path(path).name
    assert cli.main(["regenerate", path, "--out", str(again)]) == 0
    assert again.read_bytes() == Path(path).read_bytes()
    assert "byte for byte" in capsys.readouterr().out
