import json
from pathlib import Path

import pytest

from mmdiff.data.audit import audit, refuse_if_too_bad, table
from mmdiff.errors import UserError
from mmdiff.modalities import Audio, Image
from tests.data import soundzoo, zoo

GOOD, BAD = zoo.whole(), zoo.broken()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Every good and every broken picture, one row each, with a wrong row and a picture that no row names."""
    for name, data in (GOOD | BAD | {"unnamed.png": GOOD["noise.png"]}).items():
        (tmp_path / name).write_bytes(data)
    rows = [{"file_name": name, "text": f"about {name}"} for name in GOOD | BAD]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "metadata.jsonl").write_text("\n".join(["broken", *lines]))
    return tmp_path


def test_every_file_is_used_or_rejected_by_name(folder):
    found = audit(folder, Image())
    assert {used.file_name for used in found.used} == set(GOOD)
    assert {rejection.file_name for rejection in found.rejected} == {"metadata.jsonl:1", *BAD}
    assert [rejection.file_name for rejection in found.left_out] == ["unnamed.png"]
    assert found.total == len(GOOD) + len(BAD) + 1
    assert found.bad_share == pytest.approx((len(BAD) + 1) / found.total)
    assert {u.file_name: dict(u.facts) for u in found.used}["noise.png"] == {"width": 21, "height": 17}


def test_every_sound_is_found_and_used_or_rejected_by_name(tmp_path):
    """By their extensions; what lies in the containers of films is passed over."""
    good, bad = (
        {soundzoo.file_name(n): d for n, d in made.items()} for made in (soundzoo.whole(), soundzoo.broken())
    )
    film = {name for name in good | bad if name.endswith((".mp4", ".webm"))}
    assert film
    for name, data in (good | bad).items():
        (tmp_path / name).write_bytes(data)
    found = audit(tmp_path, Audio())
    assert {used.file_name for used in found.used} == good.keys() - film
    assert {rejection.file_name for rejection in found.rejected} == bad.keys() - film


def test_the_listing_of_an_audit_holds_what_can_be_used(folder):
    found = audit(folder, Image())
    assert {entry.file_name for entry in found.listing.entries} == set(GOOD)


def test_facts_are_columns_where_the_metadata_has_none(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(GOOD["noise.png"])
    rows = [{"file_name": "a.png", "text": "", "width": 5}, {"file_name": "b.png", "text": "", "width": None}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = audit(tmp_path, Image())
    assert found.columns([]) == {}
    columns = [entry.columns for entry in found.listing.beside(found.columns(["width"])).entries]
    assert [row["width"] for row in columns] == [5, 21]
    assert not any("height" in row for row in columns)


def test_the_table_names_every_file_on_a_line_of_its_own(folder):
    (folder / "odd\nname.png").write_bytes(b"")
    lines = table(audit(folder, Image())).splitlines()
    assert lines[0].startswith(f"{folder}: {len(GOOD)} used, {len(BAD) + 1} rejected")
    for name in (*GOOD, *BAD, "metadata.jsonl:1", "unnamed.png", "odd\\nname.png"):
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1


def test_the_table_of_many_names_them_all(tmp_path):
    names = [f"{kind}/picture {i:03}.png" for kind in ("cats", "dogs") for i in range(150)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(GOOD["noise.png"])
    text = table(audit(tmp_path, Image()))
    assert "cats: 150 of 21x17" in text
    assert all(text.count(f"{i:03}.png") == 2 for i in range(150))
    assert len(text.splitlines()) < 100


def test_an_audit_is_json(folder):
    told = json.loads(json.dumps(audit(folder, Image()).as_dict()))
    assert {row["file_name"] for row in told["used"]} == set(GOOD)
    assert {row["file_name"] for row in told["rejected"]} == {"metadata.jsonl:1", *BAD}
    assert all(row["reason"] for row in told["rejected"] + told["left_out"])


def test_progress_is_told_for_every_file(folder):
    seen = []
    audit(folder, Image(), progress=lambda done, of: seen.append((done, of)))
    total = len(GOOD) + len(BAD)
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_too_much_that_is_bad_is_refused_with_the_first_reason(tmp_path):
    for i in range(1000):
        (tmp_path / f"{i}.png").write_bytes(GOOD["noise.png"] if i >= 312 else b"")
    found = audit(tmp_path, Image(), max_bad=0.05)
    with pytest.raises(UserError) as caught:
        refuse_if_too_bad(found)
    assert str(caught.value) == (
        "312 of 1000 files (31.2 %) cannot be used, more than data.max_bad = 5 %: "
        f"first: 0.png: empty file; run mmdiff data audit {tmp_path} --modality image"
    )
    refuse_if_too_bad(audit(tmp_path, Image(), max_bad=0.312))


def test_nothing_at_all_is_refused(tmp_path):
    with pytest.raises(UserError, match="no image that can be used"):
        refuse_if_too_bad(audit(tmp_path, Image(), max_bad=1))
