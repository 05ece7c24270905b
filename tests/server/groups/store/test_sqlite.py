"""Sessions in real SQLite files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from homing.server.groups.store.base import StoreFailure
from homing.server.groups.store.sqlite_backend import SWEEP, SqliteBackend
from tests.reactor import eventually
from tests.server.groups.store.running import NAME, VALUE, logged, opened, threaded
from tests.sqlite_files import GARBAGE, checkpoint, files_of_at_most, foreign


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def names(path: Path) -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM sessions ORDER BY expires")]


class Clock:
    """Wall time that the test sets."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


@contextmanager
def backend(path: Path, **options: object) -> Iterator[SqliteBackend]:
    """The blocking part alone."""
    made = SqliteBackend(path, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()


def test_what_is_put_is_got_until_another_takes_its_place(path: Path) -> None:
    with opened(f"sqlite:{path}") as store:
        assert store.get() is None
        store.put()
        assert store.get() == VALUE
        store.put(value=b"")
        assert store.get() == b""
        store.put(bytes(range(256)), bytes(65_536))
        assert store.get(bytes(range(256))) == bytes(65_536)


def test_stores_share_and_values_outlive_them(path: Path) -> None:
    with opened(f"sqlite:{path}") as one, opened(f"sqlite:{path}") as other:
        one.put()
        assert other.get() == VALUE
    with opened(f"sqlite:{path}") as later:
        assert later.get() == VALUE


@pytest.mark.parametrize("lifetime", [0.0, -1.0, float("nan"), float("-inf")])
def test_what_has_no_time_to_live_is_not_kept(path: Path, lifetime: float) -> None:
    with opened(f"sqlite:{path}") as store:
        store.put(lifetime=lifetime)
        assert store.get() is None


def test_endless_lifetimes_end_some_time(path: Path) -> None:
    with logged() as lines, opened(f"sqlite:{path}") as store:
        store.put(lifetime=float("inf"))
        assert store.get() == VALUE
    assert lines == []


def test_values_that_are_too_large_are_dropped(path: Path) -> None:
    with opened(f"sqlite:{path}") as store:
        store.put(value=bytes(65_537))
        assert store.get() is None


def test_expiry(path: Path) -> None:
    clock = Clock()
    with backend(path, now=clock) as store:
        store.put(NAME, VALUE, 10)
        clock.time += 9.9
        assert store.get(NAME) == VALUE
        clock.time += 0.1
        assert store.get(NAME) is None


def test_each_put_removes_some_of_what_has_expired(path: Path) -> None:
    clock = Clock()
    with backend(path, now=clock) as store:
        for number in range(2 * SWEEP + 1):
            store.put(b"%d" % number, VALUE, 10)
        clock.time += 10
        store.put(b"a", VALUE, 10)
        assert len(names(path)) == SWEEP + 2
        store.put(b"b", VALUE, 10)
        store.probe()
        assert names(path) == [b"a", b"b"]


def test_the_table_has_a_largest_size_and_the_next_to_expire_go_first(path: Path) -> None:
    with backend(path, largest=10) as store:
        store.put(b"to stay", VALUE, 10_000)
        for number in range(100):
            store.put(b"%d" % number, VALUE, 1000 + number)
            store.put(b"to stay", VALUE, 10_000)
            assert len(names(path)) <= 10
        assert names(path) == [*(b"%d" % number for number in range(91, 100)), b"to stay"]


def test_a_table_that_was_larger_shrinks_step_by_step(path: Path) -> None:
    with backend(path) as store:
        for number in range(SWEEP * 3):
            store.put(b"%d" % number, VALUE, 1000)
    with backend(path, largest=SWEEP) as store:
        store.probe()
        assert len(names(path)) == 2 * SWEEP
        store.probe()
        store.probe()
        assert len(names(path)) == SWEEP


def test_only_the_owner_may_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(f"sqlite:{path}") as store:
            store.put()
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["sessions.db", "sessions.db-wal", "sessions.db-shm"], 0o600)


def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    path.touch(0o644)
    with opened(f"sqlite:{path}") as store:
        store.put()
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GARBAGE, "file is not a database"),
        (foreign("CREATE TABLE sessions (name, value, expires)"), "is not a session store"),
        (foreign("PRAGMA application_id = 1"), "is not a session store"),
        (foreign("PRAGMA user_version = 7"), "is not a session store"),
    ],
    ids=["garbage", "table", "application", "version"],
)
def test_a_file_that_is_not_ours_is_a_dead_store_and_left_alone(
    path: Path, content: bytes, complaint: str
) -> None:
    path.write_bytes(content)
    path.chmod(0o644)
    with logged() as lines, opened(f"sqlite:{path}") as store:
        for _ in range(20):
            store.put()
            assert store.get() is None
        time.sleep(0.4)
        store.put()
        assert len(lines) == 1
        assert complaint in lines[0]
        assert str(path) in lines[0]
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o644

        path.unlink()
        eventually(store.works, "it is back once the file is out of the way")
    assert len(lines) == 2
    assert "is back" in lines[1]


def test_a_file_that_is_damaged_in_mid_run_is_a_dead_store(path: Path) -> None:
    with logged() as lines, opened(f"sqlite:{path}") as store:
        for number in range(100):
            store.put(b"%d" % number, bytes(1000))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(b"\xa5" * size)
        for number in range(200):
            store.put(b"%d" % number)
            store.get(b"%d" % number)
        eventually(lambda: lines, "it is noticed")
        assert len(lines) == 1
        assert "is dead" in lines[0]


@pytest.mark.parametrize("value", ["text", 7, 0.5, b"\xff"])
def test_a_value_of_another_type_is_some_value(path: Path, value: object) -> None:
    with logged() as lines, opened(f"sqlite:{path}") as store:
        store.put()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE sessions SET value = ?", (value,))
        assert isinstance(store.get(), bytes)
    assert lines == []


@pytest.mark.parametrize(
    "dropped",
    [
        *("TABLE sessions", "TABLE size", "INDEX sessions_by_expiry"),
        *("TRIGGER one_more", "TRIGGER one_less"),
    ],
)
def test_what_is_dropped_in_mid_run_is_made_again(path: Path, dropped: str) -> None:
    with backend(path, largest=3) as one, backend(path, largest=3) as other:
        for number in range(3):
            one.put(b"%d" % number, VALUE, 1000 + number)
            assert other.get(b"%d" % number) == VALUE
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"DROP {dropped}")
        kept = [] if dropped == "TABLE sessions" else [b"0", b"1", b"2"]
        for store in (one, other):
            assert [name for name in (b"0", b"1", b"2") if store.get(name) == VALUE] == kept
        for number in range(3, 9):  # and they are counted right
            one.put(b"%d" % number, VALUE, 1000 + number)
            assert other.get(b"%d" % number) == VALUE
        assert names(path) == [b"6", b"7", b"8"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("left", [0, 4096, 20_000])
def test_a_file_that_is_cut_off_is_set_aside_and_the_store_goes_on(
    path: Path, left: int, restart: bool
) -> None:
    with logged() as lines:
        with opened(f"sqlite:{path}") as store:
            for number in range(100):
                store.put(b"%d" % number, bytes(1000))
            checkpoint(path)
            if not restart:
                os.truncate(path, left)
                eventually(store.works, "it goes on")
        if restart:
            os.truncate(path, left)
            with opened(f"sqlite:{path}") as store:
                eventually(store.works, "it goes on")
    broken = path.with_name("sessions.db.broken")
    assert broken.exists() == (left > 0)  # an empty file is as good as a new one
    assert [line for line in lines if "malformed" in line] == lines[: len(lines) // 2]
    assert len(lines) in ((0, 2) if left else (0,))


def test_two_processes_set_a_broken_file_aside_once(path: Path) -> None:
    with backend(path) as one, backend(path) as other:
        for store in (one, other):
            store.put(NAME, bytes(60_000), 1000)
        checkpoint(path)
        os.truncate(path, 4096)
        with pytest.raises(StoreFailure, match="malformed"):
            one.get(NAME)
        one.put(b"new", VALUE, 1000)
        assert other.get(b"new") == VALUE
        assert other.get(NAME) is None


def test_a_file_of_another_user_is_a_dead_store(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make one")
    path.touch(0o600)
    os.chown(path, 65534, 65534)
    with logged() as lines, opened(f"sqlite:{path}") as store:
        eventually(lambda: lines, "it is said")
        assert store.get() is None
    assert "belongs to nobody" in lines[0]
    assert path.read_bytes() == b""


def test_no_link_is_followed_to_the_file_of_somebody_else(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.touch()
    path.symlink_to(target)
    with logged() as lines, opened(f"sqlite:{path}") as store:
        eventually(lambda: lines, "it is said")
        assert store.get() is None
    assert f"{path} is not a file" in lines[0]
    assert target.read_bytes() == b""


@pytest.mark.parametrize("begun", [False, True])
def test_a_disk_that_is_full_at_any_write_costs_what_was_not_put_and_nothing_else(
    tmp_path: Path, begun: bool
) -> None:
    failed = 0
    for size in range(0, 80_000, 2060):  # half a page and its header
        path = tmp_path / f"{size}.db"
        put: dict[bytes, bytes] = {}
        with backend(path) as store:
            if begun:
                store.put(NAME, VALUE, 1000)
                put[NAME] = VALUE
            with files_of_at_most(size):
                for number in range(6):
                    name = NAME if number == 5 else b"%d" % number
                    value = bytes([number]) * 3000
                    try:
                        store.put(name, value, 1000)
                    except StoreFailure:
                        failed += 1
                    else:
                        put[name] = value
                for name, value in put.items():
                    with suppress(StoreFailure):
                        assert store.get(name) == value
            store.put(b"next", VALUE, 1000)  # the next one works
            put[b"next"] = VALUE
            assert {name: store.get(name) for name in put} == put
        with backend(path) as later:
            assert {name: later.get(name) for name in put} == put
            assert later.get(b"none") is None
        assert set(names(path)) == set(put)
        path.unlink()
        assert list(tmp_path.iterdir()) == []
    assert failed > 25


def test_a_file_that_is_removed_is_made_again(path: Path) -> None:
    with logged() as lines, opened(f"sqlite:{path}") as store:
        store.put()
        for file in path.parent.iterdir():
            file.unlink()
        assert store.get() is None
        with opened(f"sqlite:{path}") as other:
            other.put()
            assert store.get() == VALUE
    assert lines == []


def test_a_folder_that_is_missing_is_a_dead_store_until_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with logged() as lines, opened(f"sqlite:{folder}/sessions.db") as store:
        eventually(lambda: lines, "it is said before anything is asked")
        assert store.get() is None
        folder.mkdir()
        eventually(store.works, "it is back")
    assert "No such file or directory" in lines[0]
    assert len(lines) == 2


def test_a_writer_that_takes_its_time_costs_puts_but_not_gets(path: Path) -> None:
    with logged() as lines, opened(f"sqlite:{path}") as store:
        store.put()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            store.put(value=b"dropped")
            assert store.get() == VALUE
        assert store.works()
        assert store.get() == VALUE
    assert len(lines) <= 1
    assert all("is too slow; operations dropped: 1" in line for line in lines)


WRITER = """
import sys, time
from pathlib import Path
from homing.server.groups.store.base import StoreBusy
from homing.server.groups.store.base import StoreFailure
from homing.server.groups.store.sqlite_backend import SqliteBackend
store, busy = SqliteBackend(Path(sys.argv[1])), 0
for number in range(int(sys.argv[3])):
    try:
        store.put(b"%s-%d" % (sys.argv[2].encode(), number), bytes(200), 1000)
    except StoreBusy:
        busy += 1
print(busy, flush=True)
time.sleep(1000 if sys.argv[4:] else 0)
"""


def writer(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that writes to the same file."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), *arguments], stdout=subprocess.PIPE, text=True
    )


def test_processes_begin_and_write_together(path: Path) -> None:
    processes = [writer(path, name, "300") for name in "abcd"]
    busy = [int(process.communicate()[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sum(busy) < 100
    assert len(names(path)) == 1200 - sum(busy)


def test_what_a_killed_process_has_put_is_there(path: Path) -> None:
    with writer(path, "x", "50", "wait") as process:
        assert process.stdout
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGKILL)
    with opened(f"sqlite:{path}") as store:
        assert all(store.get(b"x-%d" % number) == bytes(200) for number in range(50))


def test_more_operations_than_may_wait_miss_at_once(path: Path) -> None:
    with logged() as lines, opened(f"sqlite:{path}", limit=10) as store:
        store.put()
        found = store.gets(NAME, 100)
        assert found == [VALUE] * 10 + [None] * 90
        assert store.get() == VALUE
    assert lines == [f"<session store sqlite:{path}> is too slow; operations dropped: 1"]


def test_a_closed_store_misses_and_can_be_closed_again(path: Path) -> None:
    with opened(f"sqlite:{path}") as store:
        store.put()
        store.close()
        assert store.get() is None
        store.put()
    assert [file.name for file in path.parent.iterdir()] == ["sessions.db"]


def test_a_store_closed_at_once(path: Path) -> None:
    with threaded(SqliteBackend(path)):
        pass
