import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import pytest

from mmdiff.errors import UserError
from mmdiff.recipe import ConditionSpec, Data, Recipe, Training
from mmdiff.run import Checkpoint, DamagedCheckpoint, Run, commit, create, held, versions

STYLE = ConditionSpec(kind="label")
RECIPE = Recipe(name="tiny", modality="image", training=Training(steps=10), conditions={"style": STYLE})
NAMES = ("model.safetensors", "ema.safetensors", "trainer.pt", "meta.json")


def write(folder):
    for name in NAMES:
        (folder / name).write_bytes(name.encode() * 100)


@pytest.fixture
def run(tmp_path):
    return create(tmp_path / "runs" / "tiny", RECIPE)


@pytest.fixture
def saved(run):
    """A run with two checkpoints, steps 1 and 2."""
    for step in (1, 2):
        commit(run, step, write, samples_seen=64 * step, keep=3)
    return run


def test_a_checkpoint_is_what_was_written_and_says_so(run):
    checkpoint = commit(run, 1000, write, samples_seen=64_000, keep=3)
    assert checkpoint == run.newest() == run.checkpoint("step-00001000")
    assert checkpoint.step == 1000
    assert run.latest.read_text() == "step-00001000\n"
    assert sorted(path.name for path in checkpoint.path.iterdir()) == sorted([*NAMES, "manifest.json"])
    facts = checkpoint.facts()
    assert (facts["step"], facts["samples_seen"], facts["versions"]) == (1000, 64_000, versions())
    assert facts["files"]["meta.json"]["bytes"] == len(checkpoint.meta.read_bytes())


def test_only_the_newest_are_kept(run):
    for step in range(1, 6):
        commit(run, step, write, samples_seen=step, keep=2)
    assert run.checkpoint_names() == ["step-00000004", "step-00000005"]


def test_steps_sort_as_numbers(run):
    for step in (99_999_999, 100_000_000):
        commit(run, step, write, samples_seen=step, keep=3)
    assert run.newest().step == 100_000_000


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a flipped byte": flip,
    "a truncated file": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "an empty file": lambda path: path.write_bytes(b""),
    "a missing file": lambda path: path.unlink(),
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("name", [*NAMES, "manifest.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_the_one_before_is_used(saved, name, damage):
    newest = saved.newest()
    DAMAGES[damage](newest.path / name)
    (problem,) = newest.verify()
    assert problem.startswith(f"{name}: ")
    with pytest.warns(DamagedCheckpoint, match=r"step-00000002 is damaged \(.*; looking at the one before"):
        assert saved.newest().step == 1


def test_no_flipped_byte_of_a_manifest_changes_what_it_says(saved):
    """Every byte counts, but for blanks between the words: whatever verifies says the same."""
    checkpoint = saved.newest()
    before, sound = checkpoint.facts(), checkpoint.manifest.read_bytes()
    for position in range(0, len(sound), 5):
        checkpoint.manifest.write_bytes(
            sound[:position] + bytes([sound[position] ^ 4]) + sound[position + 1 :]
        )
        assert checkpoint.verify() or checkpoint.facts() == before


def test_all_damaged_is_none(saved):
    for name in saved.checkpoint_names():
        saved.checkpoint(name).manifest.unlink()
    with pytest.warns(DamagedCheckpoint):
        assert saved.newest() is None


def test_a_manifest_cannot_point_outside(saved):
    checkpoint = saved.newest()
    manifest = checkpoint.facts()
    manifest["files"]["../../recipe.yaml"] = manifest["files"]["meta.json"]
    checkpoint.manifest.write_text(json.dumps(manifest))
    assert checkpoint.verify()


def test_a_checkpoint_under_another_name_does_not_verify(saved):
    shutil.copytree(saved.newest().path, saved.checkpoints / "step-00000009")
    assert saved.checkpoint("step-00000009").verify() == ["manifest.json: does not match itself"]


def test_saving_again_replaces_the_damaged_and_keeps_the_sound(saved):
    sound = saved.checkpoint("step-00000001")
    commit(saved, 1, lambda folder: pytest.fail("the sound one was written again"), samples_seen=64, keep=3)
    flip(sound.model)
    assert commit(saved, 1, write, samples_seen=64, keep=3).verify() == []


def test_damaged_checkpoints_of_an_abandoned_future_do_not_outlive_sound_ones(run):
    for step in (1, 2, 3):
        commit(run, step, write, samples_seen=step, keep=3)
    for step in (2, 3):
        flip(run.checkpoint(f"step-{step:08d}").model)
    with pytest.warns(DamagedCheckpoint):
        assert run.newest().step == 1
    commit(run, 2, write, samples_seen=2, keep=2)
    assert run.checkpoint_names() == ["step-00000001", "step-00000002"]


def test_a_failing_writer_leaves_nothing(saved):
    def fail(folder):
        write(folder)
        raise RuntimeError("enforce fail")  # what torch.save makes of a full disk

    with pytest.raises(RuntimeError, match="enforce fail"):
        commit(saved, 3, fail, samples_seen=3, keep=1)
    assert sorted(path.name for path in saved.checkpoints.iterdir()) == ["step-00000001", "step-00000002"]
    assert saved.newest().step == 2


def test_a_full_disk_keeps_the_checkpoint_before(saved, python):
    script = f"""
        import resource, signal
        from mmdiff.run import Run, commit
        from pathlib import Path
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the limit is then an error of write(2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        run = Run(Path({str(saved.path)!r}))
        try:
            write = lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 50_000)
            commit(run, 3, write, samples_seen=3, keep=1)
        except OSError:
            print("full", run.newest().step, run.checkpoint_names())
    """
    done = python("-c", textwrap.dedent(script))
    assert done.stdout == "full 2 ['step-00000001', 'step-00000002']\n", done.stderr
    assert sorted(path.name for path in saved.checkpoints.iterdir()) == ["step-00000001", "step-00000002"]


@pytest.mark.multi
def test_kill_while_saving_leaves_a_sound_newest(run):
    """A saver is killed at random moments: what is visible verifies, and its step never goes back."""
    script = f"""
        from mmdiff.run import Run, commit
        from pathlib import Path
        run = Run(Path({str(run.path)!r}))
        newest = run.newest()
        step = newest.step if newest else 0
        while True:
            step += 1
            data = bytes([step % 256]) * 2_000_000
            write = lambda folder: (folder / "model.safetensors").write_bytes(data)
            commit(run, step, write, samples_seen=step, keep=2)
    """
    last = 0
    for delay in (0.0, 0.007, 0.019, 0.041):
        command = [sys.executable, "-c", textwrap.dedent(script)]
        saver = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        while not run.checkpoint_names() or run.checkpoint(run.checkpoint_names()[-1]).step == last:
            assert saver.poll() is None
            time.sleep(0.001)
        time.sleep(delay)
        saver.send_signal(signal.SIGKILL)
        saver.wait()
        assert all(run.checkpoint(name).verify() == [] for name in run.checkpoint_names())
        newest = run.newest()
        assert newest.model.read_bytes() == bytes([newest.step % 256]) * 2_000_000
        assert newest.step > last
        last = newest.step
        create(run.path, RECIPE)
        assert not [path for path in run.checkpoints.iterdir() if path.name.startswith(".")]


def test_creating_again_resumes(run):
    settings = ["training.steps=20", "data.path=elsewhere", "sampling.steps=4", "name=other"]
    more = run.recipe().override(settings)
    assert create(run.path, more) == run
    assert run.recipe() == more


def test_label_values_found_in_the_data_survive_a_resume(tmp_path):
    filled = RECIPE.override(["conditions.style.values=[a, b]"])
    run = create(tmp_path / "run", filled)
    assert create(run.path, RECIPE).recipe() == filled
    with pytest.raises(UserError, match=r"conditions\.style\.values = \['a', 'b'\], asked for \['a'\]"):
        create(run.path, RECIPE.override(["conditions.style.values=[a]"]))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["training.seed=3"], "training.seed = 0, asked for 3"),
        (["data.size=64x64", "training.seed=3"], "data.size = '32x32', asked for '64x64'"),
        (["conditions.text.kind=text"], "conditions.text.kind = nothing, asked for 'text'"),
    ],
)
def test_another_recipe_is_refused_by_the_first_key_that_differs(run, settings, says):
    before = run.recipe_path.read_bytes()
    with pytest.raises(UserError, match="expected the same recipe to resume it, or another") as caught:
        create(run.path, RECIPE.override(settings))
    assert says in str(caught.value)
    assert run.recipe_path.read_bytes() == before


def test_a_condition_that_is_gone_is_refused(run):
    with pytest.raises(UserError, match=r"conditions\.style\.kind = 'label', asked for nothing"):
        create(run.path, dataclasses.replace(RECIPE, conditions={}))


@pytest.mark.parametrize("at", ["write_text", "sweep"])
def test_a_run_that_was_killed_while_it_was_made_begins_again(tmp_path, monkeypatch, at):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"mmdiff.files.{at}", killed)
        with pytest.raises(KeyboardInterrupt):
            create(tmp_path / "run", RECIPE)
    assert create(tmp_path / "run", RECIPE).recipe() == RECIPE


def test_folders_that_are_no_run_are_left_alone(tmp_path):
    (tmp_path / "holiday.png").write_text("x")
    with pytest.raises(UserError, match="is not empty and not a run folder"):
        create(tmp_path, RECIPE)
    with pytest.raises(UserError, match="is not empty and not a run folder"), held(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]
    with pytest.raises(UserError, match=r"is not a run folder, expected a recipe\.yaml in it"):
        Run(tmp_path).recipe()
    assert Run(tmp_path).newest() is None
    with pytest.raises(UserError, match="expected a folder named step-"):
        _ = Checkpoint(tmp_path).step


def test_one_process_at_a_time_trains_in_a_folder(run):
    other = (
        "import sys; from pathlib import Path; from mmdiff.run import held\nwith held(Path(sys.argv[1])): "
    )
    words = [sys.executable, "-c", other + "print('held', flush=True); sys.stdin.read()", str(run.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process trains there"), held(run.path):
            pass
        process.kill()
    with held(run.path), pytest.raises(UserError, match="another process trains there"), held(run.path):
        pass


def test_starting_sweeps_what_a_killed_writer_left(run):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (run.checkpoints / f".step-7.tmp.{dead.pid}").mkdir()
    (run.path / f".latest.tmp.{dead.pid}").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create(run.path, RECIPE)
    assert [path.name for path in run.path.rglob(".*")] == []


def test_recipes_with_other_defaults_still_resume(run):
    """An older run folder lacks keys that were added since: they have their defaults."""
    lines = [line for line in run.recipe_path.read_text().splitlines() if "cache_mb" not in line]
    run.recipe_path.write_text("\n".join(lines))
    assert create(run.path, RECIPE).recipe().data == Data()
