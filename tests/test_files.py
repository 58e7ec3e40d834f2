import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiff import files


@given(st.binary(max_size=300))
def test_what_is_written_is_read(tmp_path, data):
    files.write_bytes(tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "a"
    files.write_text(target, "old")

    def interrupted():
        with files.replacing(target) as part:
            part.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_keeps_the_old_file(tmp_path, python):
    target = tmp_path / "a"
    files.write_text(target, "old")
    script = f"""
        import resource, signal
        from mmdiff import files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the limit is then an error of write(2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write_bytes({str(target)!r}, b"x" * 100_000)
        except OSError as error:
            print(error.errno)
    """
    done = python("-c", textwrap.dedent(script))
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sweep_removes_what_dead_writers_left_and_nothing_else(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.tmp.{dead.pid}").write_text("half")
    (tmp_path / f".step-1.tmp.{dead.pid}").mkdir()
    (tmp_path / f".step-1.tmp.{dead.pid}" / "model").write_text("half")
    keep = [f".b.tmp.{os.getpid()}", "c.tmp.1", ".d.tmp.x", ".tmp.999999", "e"]
    for name in keep:
        (tmp_path / name).write_text("")
    assert files.sweep(tmp_path) == [f".a.tmp.{dead.pid}", f".step-1.tmp.{dead.pid}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(keep)


def test_sha256_is_the_published_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the first example of FIPS 180-2
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.multi
def test_kill_leaves_a_whole_file(tmp_path):
    """A writer is killed at random moments; each of its files consists of one byte, repeated."""
    target = tmp_path / "a"
    script = f"""
        from mmdiff import files
        for i in range(10**9):
            files.write_bytes({str(target)!r}, bytes([i % 256]) * 3_000_000)
    """
    for delay in (0.0, 0.003, 0.011, 0.027):
        target.unlink(missing_ok=True)
        command = [sys.executable, "-c", textwrap.dedent(script)]
        writer = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        while not target.exists():
            assert writer.poll() is None
            time.sleep(0.001)
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        data = target.read_bytes()
        assert len(data) == 3_000_000
        assert len(set(data)) == 1
        files.sweep(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
