"""The record of a run, and trackers that may fail but never show black pictures."""

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from mmdiff.data import clipfiles, soundfiles
from mmdiff.data.sounds import decoded
from mmdiff.modalities import Audio, Video
from mmdiff.modalities import Image as Pictures
from mmdiff.run import Run
from mmdiff.training import loggers, train
from mmdiff.training.loggers import COLUMNS, Files, TensorBoard, Trackers, Wandb, read_rows
from tests.needs import needs


def row(step, loss=0.5):
    return dict.fromkeys(COLUMNS, 1.5) | {"step": step, "samples_seen": 4 * step, "loss": loss}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def table(run):
    with run.metrics_csv.open() as file:
        return [(int(line["step"]), float(line["loss"])) for line in csv.DictReader(file)]


def test_both_files_hold_every_row_bit_for_bit(run):
    files = Files(run, step=0)
    losses = [0.1 + 0.2, 1 / 3, 1e-300, 2.0**60]
    for step, loss in enumerate(losses, 1):
        files.row(row(step, loss))
        assert len(read_rows(run)) == step  # without waiting for close
    files.close()
    assert [found["loss"] for found in read_rows(run)] == losses
    assert table(run) == list(enumerate(losses, 1))


def test_resuming_removes_rows_beyond_the_checkpoint_and_a_torn_line(run):
    files = Files(run, step=0)
    for step in (2, 4, 6):
        files.row(row(step))
    files.close()
    with run.metrics_jsonl.open("a") as file:
        file.write('{"step": 8, "lo')
    with run.metrics_csv.open("a") as file:
        file.write("8,32,0.")
    files = Files(run, step=4)
    files.row(row(6, loss=0.25))
    files.close()
    assert [(found["step"], found["loss"]) for found in read_rows(run)] == [(2, 0.5), (4, 0.5), (6, 0.25)]
    assert table(run) == [(2, 0.5), (4, 0.5), (6, 0.25)]


class Spy:
    def __init__(self, fails=False):
        self.seen, self.fails = [], fails

    def row(self, row):
        self.seen.append(row["step"])
        if self.fails:
            raise ConnectionError("no route to host")

    def picture(self, step, path):
        self.seen.append(path)

    def played(self, step, paths):
        self.seen.extend(paths)

    def close(self):
        self.seen.append("closed")


def test_a_tracker_that_fails_is_named_once_and_the_others_go_on():
    good, bad = Spy(), Spy(fails=True)
    both = Trackers({"bad": lambda: bad, "good": lambda: good})
    with pytest.warns(UserWarning, match="bad failed and is left out: ConnectionError: no route") as warned:
        both.row(row(1))
    both.row(row(2))
    both.close()
    assert len(warned) == 1
    assert bad.seen == [1]
    assert good.seen == [1, 2, "closed"]


def test_a_tracker_that_cannot_start_is_left_out():
    def broken():
        raise ImportError("not here")

    with pytest.warns(UserWarning, match="broken failed"):
        trackers = Trackers({"broken": broken})
    trackers.row(row(1))
    trackers.close()


def ramp(path):
    grey = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    Image.fromarray(np.stack([grey] * 3, -1)).save(path)
    return grey


def test_only_files_when_only_files_are_asked_for(run, recipe):
    trackers = loggers.trackers(run, recipe("training.loggers=files"), step=0)
    trackers.row(row(1))
    trackers.close()
    assert list(run.path.iterdir()) == []


def test_a_grey_ramp_survives_wandb_offline_and_the_id_is_kept(run, recipe, tmp_path):
    picture = tmp_path / "ramp.png"
    grey = ramp(picture)
    for step in (1, 2):
        tracker = Wandb(run, recipe("training.loggers=wandb-offline"))
        tracker.row(row(step))
        tracker.picture(step, picture)
        tracker.close()
    copies = list(run.path.glob("wandb/offline-run-*/files/media/images/*.png"))
    assert len(copies) >= 2
    for copy in copies:
        with Image.open(copy) as found:
            assert np.array_equal(np.asarray(found.convert("L")), grey)
    name = (run.path / "wandb" / "id").read_text()
    assert all(name in folder.name for folder in run.path.glob("wandb/offline-run-*"))


@needs("tensorboard")
def test_a_grey_ramp_and_numbers_survive_tensorboard(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    picture = tmp_path / "ramp.png"
    grey = ramp(picture)
    tracker = TensorBoard(run, 0, Pictures())
    tracker.row(row(3, loss=0.75))
    tracker.picture(3, picture)
    tracker.close()
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 0.75)]
    encoded = events.Images("samples")[0].encoded_image_string
    (tmp_path / "back.png").write_bytes(encoded)
    with Image.open(tmp_path / "back.png") as found:
        assert np.array_equal(np.asarray(found.convert("L")), grey)


def note(path):
    """A WAV file of a ramp in stereo, whose mean is one channel's."""
    wave = torch.linspace(-0.5, 0.5, 800).expand(2, -1)
    soundfiles.write(wave, 8000, path)
    return wave.mean(0)


def film(path):
    """An MP4 of black."""
    clipfiles.write(torch.zeros(3, 8, 8, 3, dtype=torch.uint8), Fraction(8), path)
    return path


def test_sounds_and_clips_reach_wandb_offline_byte_for_byte(run, recipe, tmp_path):
    note(tmp_path / "000-a-note.wav")
    tracker = Wandb(run, recipe("training.loggers=wandb-offline"))
    tracker.played(1, [])
    for path in (tmp_path / "000-a-note.wav", film(tmp_path / "000-a-clip.mp4")):
        tracker.played(1, [path])
    tracker.close()
    for kind, suffix in (("audio", "wav"), ("videos", "mp4")):
        (copy,) = run.path.glob(f"wandb/offline-run-*/files/media/{kind}/*.{suffix}")
        assert copy.read_bytes() == next(tmp_path.glob(f"*.{suffix}")).read_bytes()


@needs("tensorboard")
def test_sounds_survive_tensorboard(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    wave = note(tmp_path / "000-a-note.wav")
    tracker = TensorBoard(run, 0, Audio(8000, channels=2))
    tracker.played(3, [tmp_path / "000-a-note.wav"])
    tracker.close()
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    (heard,) = events.Audio("sounds/000-a-note")
    sound = decoded(heard.encoded_audio_string, "note")
    assert (heard.step, sound.sample_rate) == (3, 8000)
    np.testing.assert_allclose(sound.wave[0], wave, atol=1e-3)


@needs("tensorboard")
def test_clips_reach_tensorboard_as_gifs_that_move(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    clips = Video(8, 8, 3, Fraction(8))
    tracker = TensorBoard(run, 0, clips)
    tracker.played(3, [film(tmp_path / "000-a-clip.mp4")])
    tracker.close()
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    (shown,) = events.Images("clips/000-a-clip")
    assert (shown.step, shown.width, shown.height) == (3, 8, 8)
    assert shown.encoded_image_string.startswith(b"GIF89a")
    assert clips.read(shown.encoded_image_string).value.shape == (3, 8, 8, 3)


@needs("tensorboard")
def test_a_training_hands_its_samples_to_all_trackers(recipe, tmp_path, monkeypatch):
    """Whatever the recipe does not say: W&B, which is offline without a key, and TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loggers, "has_key", lambda: False)
    settings = ("training.loggers=auto", "training.steps=2", "training.sample_every=2")
    train(recipe(*settings), run=tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert [event.step for event in events.Images("samples")] == [2]
    (copy,) = tmp_path.glob("run/wandb/offline-run-*/files/media/images/samples*.png")
    (grid,) = tmp_path.glob("run/samples/step-00000002/grid.png")
    assert copy.read_bytes() == grid.read_bytes()


def test_rows_are_plain_json(run):
    files = Files(run, step=0)
    files.row(row(1))
    files.close()
    (line,) = run.metrics_jsonl.read_text().splitlines()
    assert {"step", "samples_seen", "loss"} <= set(json.loads(line))
