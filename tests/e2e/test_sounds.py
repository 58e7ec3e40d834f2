"""A run of sound by the words of the command line: audit, train, sample, inspect, regenerate."""

import json
from pathlib import Path

import pytest

from mmdiff import cli
from mmdiff.data import soundfiles, tones
from mmdiff.data.sounds import decoded

TINY = """
modality: audio
data: {source: tones, length: 20, sample_rate: 2000, seconds: 0.25, representation: mdct(bins=16)}
net: {size: custom, patch: 1, width: 16, mults: [1], blocks: 1, attention: []}
diffusion: {sigma_data: 1.0}
conditions: {timbre: {kind: label}}
training: {steps: 2, batch_size: 4, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "tiny.yaml").write_text(TINY)
    assert cli.main(["train", str(folder / "tiny.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"


def drawn(capsys, run: Path, out: Path, *words: str) -> list[Path]:
    """What ``mmdiff sample`` says that it wrote."""
    capsys.readouterr()
    assert cli.main(["sample", str(run), "--out", str(out), *words]) == 0
    return [Path(line) for line in capsys.readouterr().out.splitlines()]


def test_a_sound_does_not_depend_on_its_neighbours(capsys, run, tmp_path):
    many = drawn(capsys, run, tmp_path / "many", "-n", "3", "--seed", "5", "--condition", "timbre=bell")
    (one,) = drawn(capsys, run, tmp_path / "one", "--seed", "5", "--condition", "timbre=bell")
    assert [path.name for path in many] == ["sample-5-0.wav", "sample-5-1.wav", "sample-5-2.wav"]
    assert one.read_bytes() == many[0].read_bytes()
    assert len({path.read_bytes() for path in many}) == 3


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_length_provenance_and_regeneration(capsys, run, tmp_path, kind):
    words = ["--seconds", "0.3335", "--format", kind, "--sheet", str(tmp_path / "s.png")]
    path, sheet = drawn(capsys, run, tmp_path, *words, "--condition", "timbre=organ")
    sound = decoded(path.read_bytes(), path.name)
    assert (sound.wave.shape, sound.sample_rate) == ((1, 667), 2000)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["inspect", str(path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told | {"size": "0.3335s", "conditions": {"timbre": "organ"}, "steps": 2} == told
    assert cli.main(["regenerate", str(path), "--out", str(tmp_path / f"again.{kind}")]) == 0
    assert "identical" in capsys.readouterr().out
    again = decoded((tmp_path / f"again.{kind}").read_bytes(), "again")
    assert (again.wave == sound.wave).all()


def test_another_sound_is_noticed(capsys, run, tmp_path):
    (path,) = drawn(capsys, run, tmp_path, "--condition", "timbre=sine")
    told = soundfiles.read_provenance(path)
    soundfiles.write(tones.tone(0, 0, 2000, 0.25)[0], 2000, path, provenance=told)
    assert cli.main(["regenerate", str(path)]) == 1
    assert "not identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "32x32"], "--size: this run makes sounds, which have --seconds instead"),
        (["--format", "png"], "--format png: this run makes sounds; expected wav, flac, ogg, mp3"),
        (["--seconds", "0.00001"], "expected a sound of at least one sample"),
        (["--condition", "timbre=bel"], "did you mean 'bell'?"),
    ],
)
def test_wrong_wishes_are_one_line(capsys, run, tmp_path, words, says):
    capsys.readouterr()
    assert cli.main(["sample", str(run), "--out", str(tmp_path / "out"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "out").exists()


def test_a_folder_of_sounds_is_audited(capsys, tmp_path):
    for i in range(3):
        soundfiles.write(tones.tone(0, i, 2000, 0.25)[0], 2000, tmp_path / f"{i}.wav")
        (tmp_path / f"{i}.txt").write_text(f"note {i}")
    (tmp_path / "2.wav").write_bytes(b"no sound")
    assert cli.main(["data", "audit", str(tmp_path), "--modality", "audio"]) == 2
    shown = capsys.readouterr().out
    assert "2 used, 1 rejected" in shown
    assert "seconds 0.25, sample_rate 2000, channels 1" in shown
    words = ["data", "audit", str(tmp_path), "--modality", "audio", "--max-bad", "0.5", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["used"][0]["seconds"] == 0.25


def test_a_sound_is_continued_and_what_was_given_stays(capsys, run, tmp_path):
    start = tmp_path / "start.wav"
    soundfiles.write(tones.tone(0, 1, 2000, 0.25)[0], 2000, start)
    words = ["--given", str(start), "--seconds", "0.5"]
    path, other = drawn(capsys, run, tmp_path, *words, "-n", "2")
    before, after, others = (decoded(p.read_bytes(), p.name).wave for p in (start, path, other))
    assert after.shape == (1, 1000)
    assert abs(after[0, :480] - before[0, :480]).max() <= 2 / 32768  # all but the last, half-known frame
    assert abs(after[0, 520:] - others[0, 520:]).max() > 0.01
    assert cli.main(["regenerate", str(path)]) == 0
    assert cli.main(["sample", str(run), "--given", str(start), "--out", str(tmp_path)]) == 2
    assert "all of a sample of 0.25s is kept" in capsys.readouterr().err
