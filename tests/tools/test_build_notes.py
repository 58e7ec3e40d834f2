"""The notes builder on a package made here and a synthesizer that plays constants."""

import json
import math
import os
import re
import stat
import subprocess
import tarfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mmdiff.errors import UserError
from tests.needs import needs
from tools.data import build_notes, packages

INSTRUMENTS = {"grand piano": (0, "keyboard", 36), "oboe": (68, "reed", 60)}


class Synth:
    """While a key is held, (program + key / 100) * velocity / 127 as a constant, all of it on the left."""

    def __init__(self, gain, samplerate):
        self.level, self.program = 0.0, 0

    def sfload(self, font):
        assert font == b"a soundfont"
        return 7

    def sounds_off(self):
        self.level = 0.0

    def program_select(self, channel, font, bank, program, drums):
        assert (channel, font, bank, drums) == (0, 7, 0, False)
        self.program = program

    def noteon(self, channel, key, velocity):
        self.level = (self.program + key / 100) * velocity / 127

    def noteoff(self, channel, key):
        self.level = 0.0

    def generate(self, samples):
        return memoryview(np.tile(np.float32([2, 0]) * np.float32(self.level), samples).tobytes())


@pytest.fixture
def shelf(tmp_path, monkeypatch, deb):
    """A cache with the made package in place of the real one, and two instruments of three pitches."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    contents = {
        build_notes.FONT: b"a soundfont",
        build_notes.COPYRIGHT: "Copyright \u00a9 Frank\nPermission is hereby granted".encode(),
        "etc/other.cfg": b"not wanted",
    }
    made = deb(folder / build_notes.SOUNDFONT.file_name, contents)
    monkeypatch.setattr(build_notes, "SOUNDFONT", replace(build_notes.SOUNDFONT, sha256=made))
    monkeypatch.setattr(build_notes, "INSTRUMENTS", INSTRUMENTS)
    monkeypatch.setattr(build_notes, "PITCHES", 3)
    monkeypatch.setattr(build_notes, "wheel", lambda *_: SimpleNamespace(Synth=Synth))
    return folder


def run(tmp_path, cache, *more):
    return build_notes.main(["--out", str(tmp_path / "notes"), "--cache", str(cache), *more])


def test_folder_holds_every_note_with_its_truth(tmp_path, shelf):
    assert run(tmp_path, shelf) == 0
    folder = tmp_path / "notes"
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 2 * 3 * 2
    assert rows[0] == {
        "file_name": "grand_piano/36_110.flac",
        "text": "a loud grand piano playing C2",
        "instrument": "grand piano",
        "family": "keyboard",
        "midi": 36,
        "velocity": 110,
        "sample_rate": 16000,
        "seconds": 1.5,
    }
    assert [row["file_name"] for row in rows] == sorted(row["file_name"] for row in rows)
    for row in rows:
        wave, rate = soundfile.read(folder / row["file_name"])
        assert (rate, wave.shape) == (16000, (24000,))
        program, _, lowest = INSTRUMENTS[row["instrument"]]
        loudest = program + (lowest + 4) / 100
        level = 0.8 * (program + row["midi"] / 100) / loudest * row["velocity"] / 110
        assert wave[:16000] == pytest.approx(level, abs=1e-4)
        assert not wave[16000:].any()


def test_the_end_is_faded_out(shelf, monkeypatch):
    monkeypatch.setattr(Synth, "noteoff", lambda self, channel, key: None)
    wave = build_notes.Renderer(SimpleNamespace(Synth=Synth), b"a soundfont", 1000).note(1, 50, 127)
    assert wave[:1470] == pytest.approx(1.5)
    assert wave[-30:] == pytest.approx(1.5 * np.linspace(1, 0, 30))


@pytest.mark.parametrize(("midi", "name"), [(60, "C4"), (69, "A4"), (28, "E1"), (106, "A#7")])
def test_note_name(midi, name):
    assert build_notes.note_name(midi) == name


def test_attribution_holds_credit_and_licence(tmp_path, shelf):
    run(tmp_path, shelf)
    text = (tmp_path / "notes/ATTRIBUTION.txt").read_text("utf-8")
    assert "Frank Wen, 2008 Toby Smithe, MIT License. Rendered to single notes." in text
    assert text.endswith("Copyright \u00a9 Frank\nPermission is hereby granted")


def test_equal_packages_give_equal_bytes(tmp_path, shelf):
    for place in ("one", "two"):
        assert run(tmp_path / place, shelf, "--tar", str(tmp_path / place / "pack.tar")) == 0
    assert (tmp_path / "one/pack.tar").read_bytes() == (tmp_path / "two/pack.tar").read_bytes()
    with tarfile.open(tmp_path / "one/pack.tar") as box:
        assert "pack/oboe/60_45.flac" in box.getnames()


def test_digest_sees_samples_and_truths_but_not_the_compression(tmp_path, shelf):
    run(tmp_path, shelf)
    folder = tmp_path / "notes"
    lines = (folder / "metadata.jsonl").read_text("utf-8").splitlines()
    before = build_notes.digest(folder, lines)
    path = folder / "oboe/60_45.flac"
    wave, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, wave, rate, subtype="PCM_16", compression_level=0)
    assert build_notes.digest(folder, lines) == before
    assert build_notes.digest(folder, [line.replace("loud", "soft") for line in lines]) != before
    wave[5] += 1
    soundfile.write(path, wave, rate, subtype="PCM_16")
    assert build_notes.digest(folder, lines) != before


def test_another_sample_rate(tmp_path, shelf, capsys):
    assert run(tmp_path, shelf, "--sample-rate", "44100") == 0
    assert soundfile.info(tmp_path / "notes/oboe/60_45.flac").frames == 66150
    assert "reference" not in capsys.readouterr().out
    with pytest.raises(UserError, match="--sample-rate 10: expected"):
        build_notes.build(tmp_path / "out", 10, shelf, print)


def test_a_build_that_fails_leaves_nothing(tmp_path, shelf, monkeypatch):
    monkeypatch.setattr(build_notes, "note_name", lambda midi: math.sqrt(-1))
    with pytest.raises(ValueError, match="math"):
        run(tmp_path, shelf)
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]


def apt(folder, monkeypatch, script):
    """Puts a program ``apt-get`` that runs ``script`` on an otherwise usual path, or an empty path."""
    folder.mkdir()
    if script:
        (folder / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{script}\n')
        (folder / "apt-get").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin" if script else str(folder))


def test_a_debian_package_is_downloaded_checked_and_kept(tmp_path, shelf, monkeypatch):
    package = build_notes.SOUNDFONT
    apt(tmp_path / "bin", monkeypatch, f"cp {shelf / package.file_name} .")
    cache = tmp_path / "cache"
    for _ in range(2):
        assert packages.fetch(package, cache, lambda _: None) == cache / "fluid-soundfont-gm_3.1-5.3_all.deb"
    assert (tmp_path / "bin/calls").read_text() == "download --quiet fluid-soundfont-gm=3.1-5.3\n"
    with pytest.raises(packages.FetchError, match=r"SHA-256 is [0-9a-f]{64}, expected 00"):
        packages.fetch(replace(package, sha256="00", version="2"), cache, lambda _: None)
    assert [path.name for path in cache.iterdir()] == [package.file_name]


def test_a_failing_download_is_one_line(tmp_path, shelf, monkeypatch, capsys):
    apt(tmp_path / "bin", monkeypatch, "echo 'W: odd' >&2; echo 'E: Version was not found' >&2; exit 100")
    assert run(tmp_path, tmp_path / "empty") == 1
    assert capsys.readouterr().err == (
        "notes: apt-get download fluid-soundfont-gm=3.1-5.3 failed: Version was not found\n"
    )


def test_without_apt_the_cache_is_enough(tmp_path, shelf, monkeypatch, capsys):
    apt(tmp_path / "bin", monkeypatch, None)
    assert run(tmp_path, shelf) == 0
    assert run(tmp_path / "again", tmp_path / "empty") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "apt-get is not installed (elsewhere than on Debian, put the file there by hand)" in error


def test_unpack_reads_the_data_of_a_debian_package_alone(tmp_path, deb):
    path = tmp_path / "x_1_all.deb"
    deb(path, {"usr/a.txt": b"one", "usr/b.bin": b"two", "c.txt": b"three"})
    assert packages.unpack(path, re.compile(r".*\.txt")) == {"usr/a.txt": b"one", "c.txt": b"three"}
    path.write_bytes(b"!<arch>\n")
    with pytest.raises(packages.FetchError, match=r"holds no data\.tar"):
        packages.unpack(path, re.compile(".*"))


@needs(programs=["ar"])
def test_the_made_packages_are_such_as_ar_reads(tmp_path, deb):
    deb(tmp_path / "x.deb", {"a": b"1"})
    listed = subprocess.run(
        ["ar", "t", tmp_path / "x.deb"], capture_output=True, text=True, check=True
    ).stdout
    assert listed.split() == ["debian-binary", "control.tar.xz", "data.tar.xz"]
