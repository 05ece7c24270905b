"""One at a time: the lock of a state folder, or of a server's name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homing.farm.config.faults import CannotStart
from homing.farm.processes.lock import Lock
from homing.shared.errors import HomingError
from tests.strangers import NOBODY, as_root

_HOLD = """
import subprocess, sys
from pathlib import Path
from homing.farm.processes.lock import Lock
lock = Lock(Path(sys.argv[1]), waits=print)
child = subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[lock.descriptor])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, by_child: str = "0") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, until it is killed; its child for so many seconds."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", _HOLD, str(path), by_child]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_who_comes_second_is_told_who_has_it_and_leaves_it(tmp_path: Path) -> None:
    path, said = tmp_path / "lock", list[str]()
    with held(path) as process:
        before = path.stat()
        with pytest.raises(CannotStart, match=f"held by process {process.pid}: stop it first"):
            Lock(path, waits=said.append, patience=0.2)
        assert len(said) == 1
        assert "waiting up to 0.2 s" in said[0]
        after = path.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_children_of_a_killed_holder_are_waited_for(tmp_path: Path) -> None:
    path, said = tmp_path / "lock", list[str]()
    with held(path, by_child="1") as process:
        process.kill()
        process.wait()
        lock = Lock(path, waits=said.append, patience=30)
    assert len(said) == 1, "nobody was waited for"
    assert path.read_text() == f"{os.getpid()}\n"
    os.close(lock.descriptor)


def test_no_link_is_followed_to_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("precious")
    (tmp_path / "lock").symlink_to("theirs")
    with pytest.raises(HomingError, match="lock is a symbolic link"):
        Lock(tmp_path / "lock", waits=print)
    assert (tmp_path / "theirs").read_text() == "precious"


@as_root
def test_a_lock_that_another_user_made_is_refused_since_they_could_hold_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("")
    os.chown(tmp_path / "lock", NOBODY, NOBODY)
    with pytest.raises(HomingError, match="lock belongs to"):
        Lock(tmp_path / "lock", waits=print)


def test_a_pipe_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock", 0o600)
    with pytest.raises(HomingError, match="lock is not a file"):
        Lock(tmp_path / "lock", waits=print)


def test_what_a_holder_starts_does_not_have_it_unless_it_is_given_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", waits=print)
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        os.close(lock.descriptor)
        os.close(Lock(tmp_path / "lock", waits=print, patience=0).descriptor)
        child.kill()
