"""The loops builder on a package made here."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tools.data import build_loops

README = """# Samples
* `:drum_tom_hi_soft` - http://sounds.example/1
* `:loop_amen`   -  https://sounds.example/2
* `:elec_blip_2` - http://sounds.example/3
"""


def flac(seconds, channels=1, subtype="PCM_16"):
    out = io.BytesIO()
    soundfile.write(out, np.zeros((round(seconds * 44100), channels)), 44100, format="FLAC", subtype=subtype)
    return out.getvalue()


SOUNDS = {
    "drum_tom_hi_soft.flac": flac(0.5),
    "loop_amen.flac": flac(0.02, channels=2, subtype="PCM_24"),
    "elec_blip2.flac": flac(0.1),
}


@pytest.fixture
def shelf(tmp_path, monkeypatch, deb):
    folder = tmp_path / "shelf"
    folder.mkdir()
    place = build_loops.PLACE
    contents = {f"{place}README.md": README.encode(), f"{place}deep/loop_amen.flac": b"not wanted"}
    contents |= {f"{place}{name}": data for name, data in SOUNDS.items()}
    made = deb(folder / build_loops.SAMPLES.file_name, contents)
    monkeypatch.setattr(build_loops, "SAMPLES", replace(build_loops.SAMPLES, sha256=made))
    return folder


def run(tmp_path, cache, *more):
    return build_loops.main(["--out", str(tmp_path / "loops"), "--cache", str(cache), *more])


def test_folder_holds_every_sound_as_it_was_with_its_caption(tmp_path, shelf, capsys):
    assert run(tmp_path, shelf) == 0
    folder = tmp_path / "loops"
    assert {path.name: path.read_bytes() for path in folder.glob("*.flac")} == SOUNDS
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert rows == [
        {
            "file_name": "drum_tom_hi_soft.flac",
            "text": "drum, tom high soft",
            "label": "drum",
            "seconds": 0.5,
            "sample_rate": 44100,
            "channels": 1,
            "source": "http://sounds.example/1",
        },
        {
            "file_name": "elec_blip2.flac",
            "text": "electronic percussion, blip 2",
            "label": "electronic percussion",
            "seconds": 0.1,
            "sample_rate": 44100,
            "channels": 1,
            "source": "http://sounds.example/3",
        },
        {
            "file_name": "loop_amen.flac",
            "text": "loop, amen",
            "label": "loop",
            "seconds": 0.02,
            "sample_rate": 44100,
            "channels": 2,
            "source": "https://sounds.example/2",
        },
    ]
    assert capsys.readouterr().out.splitlines()[-2] == f"{folder}: 3 sounds, 1 s"
    text = (folder / "ATTRIBUTION.txt").read_text("utf-8")
    assert "CC0 1.0" in text
    assert text.endswith(README)


@pytest.mark.parametrize(
    ("stem", "label", "text"),
    [
        ("bd_haus", "bass drum", "bass drum, haus"),
        ("ambi_swoosh", "ambient sound", "ambient sound, whoosh"),
        ("guit_em9", "guitar", "guitar, E minor 9 chord"),
        ("tabla_tas3", "tabla", "tabla, tas 3"),
        ("loop_3d_printer", "loop", "loop, 3D printer"),
    ],
)
def test_captions_come_from_names(stem, label, text):
    assert build_loops.caption(stem) == (label, text)


def test_what_is_there_is_not_overwritten(tmp_path, shelf, capsys):
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops/mine.flac").write_bytes(b"")
    assert run(tmp_path, shelf) == 2
    assert capsys.readouterr().err == (
        f"loops: --out {tmp_path / 'loops'}: it is there already; remove it to build it anew\n"
    )


def test_a_build_that_fails_leaves_nothing(tmp_path, shelf, monkeypatch):
    monkeypatch.setattr(build_loops, "sources", lambda readme: {})
    with pytest.raises(KeyError):
        run(tmp_path, shelf)
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]
