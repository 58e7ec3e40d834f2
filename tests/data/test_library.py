import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mmdiff.data import clips
from mmdiff.data.badfile import BadFile
from mmdiff.data.library import Cache, Library
from mmdiff.data.scan import scan
from mmdiff.modalities import Image, Video, video
from tests.data import clipzoo, zoo


@pytest.fixture
def library(tmp_path) -> Library:
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(zoo.saved(np.full((4, 6, 3), 40 * i, np.uint8)))
        (tmp_path / f"{i}.txt").write_text(f"picture {i}")
    modality = Image(6, 4)
    return Library(scan(tmp_path, modality.suffixes), modality, cache_mb=1)


def test_items_are_packed_pictures_with_their_columns(library):
    assert len(library) == 5
    assert library.name(3) == "3.png"
    assert library.columns(3)["text"] == "picture 3"
    value, columns = library[3]
    assert value.dtype == torch.uint8
    assert value.shape == (3, 4, 6)
    assert (value == 120).all()
    assert columns == library.columns(3)
    torch.testing.assert_close(library.x0(3), torch.full((3, 4, 6), 120 / 127.5 - 1))


def test_what_is_kept_is_not_read_again(library, tmp_path):
    first = library[2][0].clone()
    (tmp_path / "2.png").unlink()
    assert torch.equal(library[2][0], first)
    (tmp_path / "3.png").unlink()
    with pytest.raises(BadFile, match=r"3\.png"):
        library[3]


@pytest.mark.parametrize("index", [5, -1, 10**9])
def test_only_what_is_there(library, index):
    for read in (library.__getitem__, library.name, library.columns):
        with pytest.raises(IndexError):
            read(index)


@given(st.integers(0, 3), st.lists(st.integers(0, 8)))
def test_a_cache_changes_nothing_but_the_work(cache_mb, reads):
    """Items of 1 MiB, in bytes or in floats: the budget is the number of items that are made once."""
    made = []

    def make(index):
        made.append(index)
        kind, size = (torch.uint8, 2**20) if index % 2 else (torch.float32, 2**18)
        return torch.full((size,), index, dtype=kind)

    cache = Cache(cache_mb)
    assert [int(cache.get(index, make)[-1]) for index in reads] == reads
    kept = list(dict.fromkeys(reads))[:cache_mb]
    assert len(made) == sum(index not in kept for index in reads) + len(kept)


def test_what_does_not_fit_leaves_room_for_what_does():
    cache, made = Cache(1), []

    def make(index):
        made.append(index)
        return torch.zeros(2**21 if index == 0 else 2**10, dtype=torch.uint8)

    for index in (0, 1, 0, 1):
        cache.get(index, make)
    assert made == [0, 1, 0]


def test_a_copy_for_another_process_is_small_and_reads_the_same(library):
    before = [library[i][0].clone() for i in range(5)]
    data = pickle.dumps(library)
    assert len(data) < 5000
    assert all(torch.equal(pickle.loads(data)[i][0], before[i]) for i in range(5))


@pytest.mark.multi
def test_loader_workers_read_the_same(library):
    loader = DataLoader(library, batch_size=None, num_workers=1)
    assert [columns["text"] for _, columns in loader] == [f"picture {i}" for i in range(5)]


FILM = clipzoo.filmed(clipzoo.numbered(400), 24, coding={"g": "12"})


@pytest.fixture
def film(tmp_path) -> Library:
    """A film of 400 frames, which gives windows of four."""
    (tmp_path / "film.mp4").write_bytes(FILM)
    modality = Video(8, 8, 4, Fraction(24))
    return Library(scan(tmp_path, modality.suffixes), modality)


@pytest.mark.parametrize("place", [0.0, 0.31, 0.77, 0.999])
def test_a_window_of_a_long_film_is_sought_and_the_rest_is_not_decoded(
    film, frames_decoded, monkeypatch, place
):
    monkeypatch.setattr(video, "_LONG", 400 * 3 * 8 * 8)
    part = film.part(0, place)
    assert part.shape == (3, 4, 8, 8)
    assert frames_decoded() <= 12 + 4 + 2
    for packed in (part, film[0][0]):
        seen, valid = film.modality.window(packed, place)
        assert valid is None
        assert torch.equal(seen, part)


def test_a_shorter_film_is_decoded_once_and_kept(film, frames_decoded):
    whole = film.part(0, 0.5)
    assert frames_decoded() == 400
    assert film.part(0, 0.9) is whole is film[0][0]
    assert frames_decoded() == 0


def test_a_film_that_says_too_much_is_decoded_whole(film, monkeypatch):
    monkeypatch.setattr(video, "_LONG", 0)
    monkeypatch.setattr(clips, "claimed", lambda *_: 4000)
    assert film.part(0, 0.9).shape[1] == 400


def test_a_window_of_a_picture_is_cut_from_all_of_it(library):
    assert library.part(3, 0.5) is library[3][0]
