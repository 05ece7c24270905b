"""Files are whole at any moment, nobody else's, and no link leads away from them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homing.farm.config.keys import Keys
from homing.server.files import append, read, read_key, remove_socket, replace
from homing.server.identifiers.journal import Journal
from homing.shared.errors import HomingError
from tests.strangers import as_root, give_away

CALLS = ("open", "write", "fsync", "replace", "ftruncate", "link")
"""What changes a disk."""


class Failing:
    """A disk whose `number`-th change fails; a write, after half of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left = number
        self.failed = False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return call(*arguments, **options)
            self.left -= 1
            if self.left != 0:
                return call(*arguments, **options)
            self.failed = True
            if name == "write":
                call(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise OSError(28, os.strerror(28))

        return instead


def fails(number: int, change: Callable[[], object], said: str = "") -> bool:
    """Whether the disk failed; then, and only then, `change` must have raised an error."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Failing(patch, number)
        try:
            change()
            raised = False
        except (OSError, HomingError) as error:
            raised = True
            assert said in str(error)
    assert raised == disk.failed
    return raised


def each_failure(work: Callable[[int], bool]) -> int:
    """Do `work` with the first, second, … change of the disk failing, until none does."""
    number = 1
    while work(number):
        number += 1
    return number - 1


def test_a_file_is_the_old_or_the_new_one_wherever_the_disk_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def work(number: int) -> bool:
        replace(path, b"old")
        failed = fails(number, lambda: replace(path, b"the new one"))
        assert path.read_bytes() == (b"old" if failed else b"the new one")
        assert [one.name for one in tmp_path.iterdir()] == ["file"]
        replace(path, b"next")
        assert path.read_bytes() == b"next"
        return failed

    assert each_failure(work) == 4  # open, write, fsync, rename


@pytest.mark.parametrize("torn", [0, 7])
def test_an_entry_is_whole_or_not_there_wherever_the_disk_fails(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "file"

    def work(number: int) -> bool:
        replace(path, b"one-one-" + b"x" * torn)
        failed = fails(number, lambda: append(path, b"two-two-"))
        whole = path.read_bytes()
        entries = whole[: len(whole) - len(whole) % 8]
        assert entries == (b"one-one-" if failed else b"one-one-two-two-")
        append(path, b"thr-thr-")
        assert path.read_bytes() == entries + b"thr-thr-"
        return failed

    assert each_failure(work) == (3 if torn else 2)


@pytest.mark.parametrize("before", [False, True])
def test_keys_survive_wherever_the_disk_fails(
    tmp_path_factory: pytest.TempPathFactory, before: bool
) -> None:
    def work(number: int) -> bool:
        keys = Keys(tmp_path_factory.mktemp("state") / "keys")
        old = keys.farm_ciphers() and keys.farm_key.read_text() if before else None
        failed = fails(
            number,
            keys.announce_farm_key if before else keys.farm_ciphers,
            str(keys.farm_key),
        )
        if failed:
            assert (keys.farm_key.read_text() if keys.farm_key.exists() else None) == old
            assert [one.name for one in keys.folder.iterdir()] == (["farm.key"] if old else [])
        assert len(keys.farm_ciphers()) == (2 if before and not failed else 1)
        return failed

    assert each_failure(work) >= 4


def test_a_journal_loses_no_entry_but_the_one_it_says(tmp_path: Path) -> None:
    path = tmp_path / "given-out" / "s1"
    said: list[str] = []

    def journal() -> Journal:
        return Journal(path, lambda: 1000.0, said.append)

    def work(number: int) -> bool:
        before = journal()
        before.read()
        before.note(b"%032d" % number, 50)
        with pytest.MonkeyPatch.context() as patch:
            disk = Failing(patch, number)
            begun = journal()
            begun.read()
            begun.note(b"n%031d" % number, 50)
        assert disk.failed == bool(said)
        said.clear()
        found = journal().read()
        assert all(b"%032d" % each in found for each in range(1, number + 1))
        assert [one.name for one in path.parent.iterdir()] == ["s1"]
        return disk.failed

    assert each_failure(work) == 6  # four of the shortening, two of the entry
    assert said == []


def test_no_link_is_followed_when_a_file_is_made(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    for name in ("file", ".file.new"):
        (tmp_path / name).symlink_to("target")
    replace(tmp_path / "file", b"ours")
    assert target.read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"ours"
    (tmp_path / "log").symlink_to("target")
    with pytest.raises(HomingError, match="symbolic link"):
        append(tmp_path / "log", b"entry")
    assert target.read_bytes() == b"precious"


def test_a_link_is_not_read_but_where_an_operator_may_put_one(tmp_path: Path) -> None:
    replace(tmp_path / "target", b"content")
    link = tmp_path / "link"
    link.symlink_to("target")
    with pytest.raises(HomingError, match=f"{link} is a symbolic link"):
        read(link)
    assert read_key(link) == b"content"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_and_nothing_waits(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "it")
    with pytest.raises(HomingError, match="is not a file"):
        read(tmp_path / "it")


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o622])
def test_what_others_can_write_is_not_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    for reading in (read, read_key):
        with pytest.raises(HomingError, match="can be written by others"):
            reading(path)


def test_a_secret_that_others_can_read_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o640)
    assert read(path) == b""
    with pytest.raises(HomingError, match="can be read by others: chmod 600"):
        read(path, secret=True)


@as_root
def test_a_file_of_another_user_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    give_away(path)
    for reading in (read, read_key, lambda path: append(path, b"x")):
        with pytest.raises(HomingError, match="belongs to nobody, and this process is root's"):
            reading(path)


def test_only_a_socket_is_removed_as_a_socket(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "link").symlink_to("mine")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s1.sock"))
    for name in ("mine", "link", "s1.sock", "nothing"):
        remove_socket(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine"]
