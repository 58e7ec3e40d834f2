"""The emoji builder on packages made here, whose pictures are plain colours."""

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mmdiff.errors import UserError
from tools.data import build_emoji, emoji_styles, packages

MIT = "MIT License\n\nCopyright (c) {}\n\nPermission is hereby granted, free of charge, to any person\n"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def picture(colour, size=(256, 256), form="PNG"):
    out = io.BytesIO()
    Image.new("RGBA", size, colour).save(out, form, lossless=True)
    return out.getvalue()


def sheet():
    """Two by two cells of 32 px in a border of 1 px: blue, then red; the border would show as black."""
    page = Image.new("RGBA", (68, 68), "black")
    page.paste(BLUE, (1, 1, 33, 33))
    page.paste(RED, (35, 1, 67, 33))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def cell(unified, x, google=True):
    return {
        "unified": unified,
        "non_qualified": None,
        "sheet_x": x,
        "sheet_y": 0,
        "has_img_google": google,
        "has_img_twitter": True,
    }


def icon(colour, **more):
    return {"body": f'<rect width="8" height="16" fill="{colour}"/>', **more}


CELLS = [cell("2764-FE0F", 1), cell("1F3DE", 0, google=False)]
NOTO = {"icons": {"heart": icon("red")}, "aliases": {"canons": {"parent": "heart"}}, "width": 16}
FLAT = {"icons": {"heart": icon("green")}, "aliases": {"turned": {"parent": "heart", "hFlip": True}}}

CONTENTS = {
    "SHEETS": {
        "LICENSE": MIT.format("Cal"),
        "emoji.json": json.dumps(CELLS),
        "img/google/sheets/32.png": sheet(),
        "img/twitter/sheets/32.png": sheet(),
    },
    "GOOGLE": {"LICENSE": MIT.format("Cal"), "img/google/64/2764-fe0f.png": picture(RED, (64, 64))},
    "TWITTER": {"LICENSE": MIT.format("Cal"), "img/twitter/64/1f3de.png": picture(BLUE, (64, 64))},
    "FLUENT_3D": {
        "assets/2764-fe0f.webp": picture((0, 0, 255, 0), form="WEBP"),
        "assets/1f3de.webp": picture(BLUE, (128, 256), form="WEBP"),
    },
    "FLUENT_FLAT": {
        "icons.json": json.dumps(FLAT),
        "chars.json": json.dumps({"2764": "heart", "1f3de": "turned"}),
    },
    "NOTO_V1": {"icons.json": json.dumps(NOTO), "chars.json": "{}"},
}


@pytest.fixture
def shelf(emojibase, monkeypatch, tgz):
    """A cache that holds the made packages, pinned in place of the real ones."""
    pinned = {}
    for name, contents in CONTENTS.items():
        package = getattr(emoji_styles, name)
        pinned[package] = replace(package, sha256=tgz(emojibase / package.file_name, contents))
    styles = {
        style: tuple(replace(origin, package=pinned[origin.package]) for origin in origins)
        for style, origins in emoji_styles.STYLES.items()
    }
    monkeypatch.setattr(emoji_styles, "STYLES", styles)
    return emojibase


def npm(folder, monkeypatch, script):
    """Puts a program ``npm`` that runs ``script``, or none, on an otherwise usual path."""
    folder.mkdir()
    if script:
        (folder / "npm").write_text(f"#!/bin/sh\necho run >> {folder}/calls\n{script}\n")
        (folder / "npm").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin" if script else str(folder))


def run(tmp_path, cache, *more):
    return build_emoji.main(["--out", str(tmp_path / "emoji"), "--cache", str(cache), *more])


def test_folder_holds_every_picture_with_its_caption(tmp_path, shelf):
    assert run(tmp_path, shelf) == 0
    rows = [json.loads(line) for line in (tmp_path / "emoji/metadata.jsonl").read_text("utf-8").splitlines()]
    colours = {}
    for row in rows:
        with Image.open(tmp_path / "emoji" / row["file_name"]) as image:
            assert (image.mode, image.size) == ("RGB", (32, 32))
            colours[row["file_name"]] = [image.getpixel((4, 16)), image.getpixel((28, 16))]
    assert colours == {
        "fluent-3d/1f3de.png": [WHITE, WHITE],  # half as wide as high: padded on both sides
        "fluent-3d/2764.png": [WHITE, WHITE],  # transparent
        "fluent-flat/1f3de.png": [WHITE, GREEN],  # the mirrored alias, by code points
        "fluent-flat/2764.png": [GREEN, WHITE],
        "google/2764.png": [RED, RED],  # the other concept is not this vendor's
        "twitter/1f3de.png": [BLUE, BLUE],
        "twitter/2764.png": [RED, RED],
    }  # noto-v1: no slug of a label is an icon of its own, and aliases do not count
    with Image.open(tmp_path / "emoji/fluent-3d/1f3de.png") as image:
        assert image.getpixel((16, 16)) == BLUE
    assert [row["file_name"] for row in rows] == sorted(colours)
    assert rows[0] == {
        "file_name": "fluent-3d/1f3de.png",
        "text": "ca\u00f1on\u2019s",
        "tags": ["Ca\u00f1on\u2019s"],
        "style": "fluent-3d",
        "group": "symbols",
        "concept": "1f3de",
    }


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Flag: C\u00f4te d\u2019Ivoire", "flag-cote-divoire"),
        ("keycap: #", "keycap"),
        ("UP! button", "up-button"),
    ],
)
def test_slug(label, name):
    assert emoji_styles.slug(label) == name


def test_a_vector_set_is_found_by_the_slug_of_a_label_that_only_one_concept_has():
    concepts = {"a": {"label": "Red Heart"}, "b": {"label": "twin"}, "c": {"label": "Twin"}}
    data = {"icons": {"red-heart": icon("red"), "twin": icon("blue")}}
    files = {"icons.json": json.dumps(data).encode(), "chars.json": b"{}"}
    get = emoji_styles.icons(files, concepts, lambda svg: picture(RED))
    assert [get(concept, 32) is not None for concept in "abc"] == [True, False, False]


def test_larger_pictures_come_from_larger_sources_or_not_at_all(tmp_path, shelf, capsys):
    assert run(tmp_path, shelf, "--size", "64") == 0
    assert {path.name for path in (tmp_path / "emoji/google").iterdir()} == {"2764.png"}
    with Image.open(tmp_path / "emoji/twitter/1f3de.png") as image:
        assert image.size == (64, 64)
    assert "left out" not in capsys.readouterr().out
    assert run(tmp_path / "more", shelf, "--size", "300") == 0
    assert sorted(path.name for path in (tmp_path / "more/emoji").iterdir() if path.is_dir()) == [
        "fluent-flat",
        "noto-v1",
    ]
    assert "google: left out, its pictures have at most 64 of 300 pixels" in capsys.readouterr().out


def test_attribution_names_the_sources_in_use_and_holds_their_licences(tmp_path, shelf):
    run(tmp_path, shelf)
    text = (tmp_path / "emoji/ATTRIBUTION.txt").read_text("utf-8")
    for part in ("Google LLC", "Twitter, Inc.", "Microsoft Corporation, MIT", "(c) Miles", "(c) Cal"):
        assert part in text
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text  # of Apache-2.0
    few = build_emoji.attribution({"fluent-flat"}, {}, MIT.format("Miles"), "APACHE")
    assert "Google" not in few
    assert "APACHE" not in few
    assert "Copyright (c) Microsoft Corporation\n" in few


def test_equal_packages_give_equal_bytes(tmp_path, shelf):
    for place in ("one", "two"):
        assert run(tmp_path / place, shelf, "--tar", str(tmp_path / place / "pack.tar")) == 0
    assert (tmp_path / "one/pack.tar").read_bytes() == (tmp_path / "two/pack.tar").read_bytes()
    with tarfile.open(tmp_path / "one/pack.tar") as box:
        names = box.getnames()
    assert names[:2] == ["pack", "pack/ATTRIBUTION.txt"]
    assert "pack/google/2764.png" in names


def test_digest_sees_pixels_and_captions_but_not_the_compression(tmp_path, shelf):
    run(tmp_path, shelf)
    folder = tmp_path / "emoji"
    rows = (folder / "metadata.jsonl").read_text("utf-8").splitlines()
    before = build_emoji.digest(folder, rows)
    path = folder / "google/2764.png"
    with Image.open(path) as opened:
        image = opened.copy()
    image.save(path, compress_level=0)
    assert build_emoji.digest(folder, rows) == before
    assert build_emoji.digest(folder, [row.replace("heart", "house") for row in rows]) != before
    image.putpixel((0, 0), (254, 0, 0))
    image.save(path)
    assert build_emoji.digest(folder, rows) != before


def test_what_is_there_is_not_overwritten(tmp_path, shelf, capsys):
    (tmp_path / "emoji").mkdir()
    (tmp_path / "emoji/mine.png").write_bytes(b"")
    assert run(tmp_path, shelf) == 2
    assert capsys.readouterr().err == (
        f"emoji: --out {tmp_path / 'emoji'}: it is there already; remove it to build it anew\n"
    )


def test_a_build_that_fails_leaves_nothing(tmp_path, shelf, monkeypatch):
    monkeypatch.setattr(build_emoji, "on_white", lambda image, size: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, shelf)
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]


def test_without_npm_the_cache_is_enough(tmp_path, shelf, monkeypatch, capsys):
    npm(tmp_path / "bin", monkeypatch, None)
    assert run(tmp_path, shelf) == 0
    assert run(tmp_path / "again", tmp_path / "empty") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("emoji: emojibase-data@17.0.0: no ")
    assert "npm is not installed" in error


def test_download_is_checked_kept_and_not_repeated(tmp_path, shelf, monkeypatch):
    origin = emoji_styles.STYLES["noto-v1"][0].package
    npm(tmp_path / "bin", monkeypatch, f"cp {shelf / origin.file_name} .")
    cache = tmp_path / "cache"
    for _ in range(2):
        path = packages.fetch(origin, cache, lambda _: None)
        assert path == cache / origin.file_name
    assert (tmp_path / "bin/calls").read_text() == "run\n"
    path.write_bytes(b"cut off")
    packages.fetch(origin, cache, lambda _: None)
    assert (tmp_path / "bin/calls").read_text() == "run\nrun\n"
    with pytest.raises(packages.FetchError, match=r"SHA-256 is [0-9a-f]{64}, expected 00"):
        packages.fetch(replace(origin, sha256="00", version="2"), cache, lambda _: None)
    assert [path.name for path in cache.iterdir()] == [origin.file_name]


def test_npm_and_pip_are_told_to_run_no_code_of_packages(tmp_path, monkeypatch, shelf):
    commands = []
    monkeypatch.setattr(sys, "path", list(sys.path))
    origin = emoji_styles.STYLES["noto-v1"][0].package

    def run(command, cwd=None, **_):
        commands.append(list(map(str, command)))
        if cwd is not None:
            shutil.copy(shelf / origin.file_name, cwd)
        else:
            pins = Path(command[command.index("-r") + 1]).read_text("utf-8")
            commands[-1].append(pins.strip())
            Path(command[command.index("--target") + 1], "odd").mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    packages.fetch(origin, tmp_path / "cache", lambda _: None)
    assert "--ignore-scripts" in commands[0]
    with pytest.raises(ModuleNotFoundError):
        packages.wheel("odd_odd", "1.0", ("ab", "cd"), tmp_path, lambda _: None)
    options, pins = commands[1][commands[1].index("install") :], commands[1][-1]
    assert {"--no-deps", "--require-hashes"} <= set(options)
    assert options[options.index("--only-binary") + 1] == ":all:"
    assert pins == "odd_odd==1.0 --hash=sha256:ab --hash=sha256:cd"


def test_a_failing_download_is_one_line(tmp_path, shelf, monkeypatch, capsys):
    npm(tmp_path / "bin", monkeypatch, "echo 'npm error code E404' >&2; echo 'npm error gone' >&2; exit 1")
    assert run(tmp_path, tmp_path / "empty") == 1
    assert capsys.readouterr().err == ("emoji: npm pack emojibase-data@17.0.0 failed: code E404; gone\n")


def test_unpack_gives_wanted_regular_files_only(tmp_path):
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as box:
        for name, kind in (("package/a.txt", tarfile.REGTYPE), ("package/b.txt", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            box.addfile(info)
        link = tarfile.TarInfo("package/c.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        box.addfile(link)
    assert packages.unpack(path, re.compile(r".*\.txt")) == {"a.txt": b""}


def test_a_size_of_zero_is_refused(tmp_path, shelf):
    with pytest.raises(UserError, match="--size 0: expected"):
        build_emoji.build(tmp_path / "out", 0, shelf, print)
