"""The registry in real SQLite files, and what may become of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from homing.shared.registry.interface import (
    TIMEOUT,
    LeaseLost,
    Refused,
    Transaction,
    Unavailable,
)
from homing.shared.registry.sqlite.database import NOTHING, Database
from homing.shared.registry.sqlite.registry import LIMIT
from tests.logs import log
from tests.reactor import WITHIN, call, eventually
from tests.shared.registry.rig import Client, SqliteRig
from tests.sqlite_files import GARBAGE, checkpoint, execute, files_of_at_most, foreign

Make = Callable[[], Client]


@pytest.fixture(name="path")
def path_(tmp_path: Path) -> Path:
    return tmp_path / "registry.sqlite"


@pytest.fixture(name="rig")
def rig_(path: Path) -> SqliteRig:
    return SqliteRig(path)


def logged() -> AbstractContextManager[list[str]]:
    return log("homing.shared.registry.")


@contextmanager
def database(path: Path, since_boot: str = "this boot", kept: int = 10_000) -> Iterator[Database]:
    """The blocking half alone."""
    made = Database(path, lambda _: None, lambda: 1000.0, since_boot, kept)
    try:
        yield made
    finally:
        made.close()


def put(one: Database, key: str, value: bytes, expected: int = 0, lease: int = 0) -> int:
    revision = one.commit(Transaction({key: expected}, {key: value}, lease=lease))
    assert revision is not None
    return revision


def values(one: Database) -> dict[str, bytes]:
    return {key: item.value for key, item in one.read().puts.items()}


def script(body: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that uses the registry."""
    head = """
import json, os, signal, sys, time
from pathlib import Path
from homing.shared.registry.interface import Transaction, Unavailable
from homing.shared.registry.sqlite.database import Database
path = Path(sys.argv[1])
"""
    command = [sys.executable, "-c", head + body, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


KILLED = """
for number in range(int(sys.argv[2])):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        database, expected = Database(path, lambda _: None), {"a": 0, "b": 0}
        items = database.read().puts
        expected.update((key, item.revision) for key, item in items.items())
        while True:
            value = b"%d" % time.monotonic_ns() * 200
            revision = database.commit(Transaction(expected, {"a": value, "b": value}))
            os.write(writer, b" %d\\n" % revision)
            expected = {"a": revision, "b": revision}
    os.read(reader, 1)
    time.sleep(0.0007 * number)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as said:
        last = int(said.read().split()[-1])
    database = Database(path, lambda _: None)
    batch = database.read()
    assert batch.puts["a"] == batch.puts["b"], number
    assert batch.revision in (last, last + 1), number
    database.close()
print("good")
"""


def test_a_process_that_is_killed_in_mid_commit_leaves_all_of_it_or_nothing(path: Path) -> None:
    with script(KILLED, path, 20) as process:
        assert process.communicate(timeout=60)[0] == "good\n"


MANY = """
children = []
reader, writer = os.pipe()
for number in range(int(sys.argv[2])):
    if not os.fork():
        os.close(reader)
        database, key, revision, all_of_them = Database(path, lambda _: None), str(number), 0, []
        for value in range(5):
            while True:
                try:
                    item = database.read().puts.get(key)
                    expected = {key: item.revision if item else 0}
                    revision = database.commit(Transaction(expected, {key: b"%d" % value}))
                    break
                except Unavailable:
                    time.sleep(0.01)
            all_of_them.append(revision)
        os.write(writer, json.dumps(all_of_them).encode() + b"\\n")
        os._exit(0)
os.close(writer)
with open(reader, "rb") as said:
    print(json.dumps([json.loads(line) for line in said]))
"""


def test_fifty_processes_that_begin_at_once_each_get_revisions_of_their_own(path: Path) -> None:
    with script(MANY, path, 50) as process:
        revisions = json.loads(process.communicate(timeout=100)[0])
    assert len(revisions) == 50
    assert all(each == sorted(each) for each in revisions)
    every = [one for each in revisions for one in each]
    assert len(set(every)) == len(every) == 250
    with database(path) as one:
        assert values(one) == {str(number): b"4" for number in range(50)}
        assert one.read().revision == max(every)


STOPPED = """
import sqlite3
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("holds it", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("COMMIT")
"""


def test_a_process_that_is_paused_in_mid_commit_costs_others_time_and_nothing_else(
    path: Path, client: Make
) -> None:
    one = client()
    a = one.put("a", b"1")
    followed = client().follow()
    followed.sees({"a": b"1"})
    with script(STOPPED, path) as process:
        assert process.stdout
        assert process.stdout.readline() == "holds it\n"
        before = time.monotonic()
        with pytest.raises(Unavailable):
            one.commit(Transaction({"a": a}, {"a": b"2"}))
        assert time.monotonic() - before < TIMEOUT + 3
        assert one.values() == {"a": b"1"}
        assert followed.failure is None
        process.send_signal(signal.SIGCONT)
    one.put("a", b"2", a)
    followed.sees({"a": b"2"})


def test_a_broken_file_is_set_aside_and_said_and_all_followers_begin_anew(
    path: Path, client: Make
) -> None:
    one = client()
    followed = one.follow()
    before = [one.put(f"{number:04}", bytes(4000)) for number in range(50)]
    eventually(lambda: len(followed.items) == 50)
    checkpoint(path)
    broken = path.with_name("registry.sqlite.broken")
    # Revisions begin at the time in ms, and these came faster than one a millisecond
    eventually(lambda: 1000 * time.time() > before[-1] + 1)

    def is_noticed() -> bool:
        with suppress(Unavailable):
            one.read()  # a look reads too little of it to notice at once
        return broken.exists()

    with logged() as lines:
        os.truncate(path, 20_000)
        eventually(is_noticed, "it is set aside")
        eventually(lambda: followed.items == {}, "it begins empty")
        eventually(lambda: followed.failure is None, "it goes on")
        after = one.put("new", b"1")
        followed.sees({"new": b"1"})
    assert broken.stat().st_size == 20_000
    assert after > before[-1]
    assert followed.batches[-1].revision == after
    assert str(path) in lines[0]
    assert "malformed" in lines[0]
    assert "registry.sqlite.broken" in lines[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GARBAGE, "file is not a database: move it away"),
        (foreign("CREATE TABLE items (key, value)"), "is not a registry"),
        (foreign("PRAGMA application_id = 1"), "is not a registry"),
        (foreign("PRAGMA user_version = 7"), "is not a registry"),
    ],
    ids=["garbage", "table", "application", "version"],
)
def test_a_file_of_another_application_is_refused_and_left_alone(
    path: Path, client: Make, content: bytes, complaint: str
) -> None:
    path.write_bytes(content)
    with logged() as lines:
        one = client()
        followed = one.follow()
        for _ in range(3):
            with pytest.raises(Refused, match=complaint):
                one.read()
        eventually(lambda: isinstance(followed.failure, Refused), "the follower knows why")
        assert path.read_bytes() == content
        assert len(lines) == 1
        assert complaint in lines[0]
        path.unlink()
        eventually(lambda: followed.failure is None, "it answers once the file is out of the way")
        one.put("a", b"1")
        followed.sees({"a": b"1"})


def test_a_session_store_is_no_registry(path: Path) -> None:
    from homing.server.groups.store.sqlite_backend import SqliteBackend

    store = SqliteBackend(path)
    store.probe()
    with database(path) as one, pytest.raises(Refused, match="is not a registry"):
        one.read()
    store.probe()
    store.close()


@contextmanager
def nobody() -> Iterator[None]:
    """As a user to whom root's files are closed."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_in_a_folder_that_cannot_be_written_a_call_is_refused_and_says_why() -> None:
    with nobody(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with database(folder / "registry.sqlite") as one:
            revision = put(one, "a", b"1")
        folder.chmod(0o500)
        with database(folder / "other.sqlite") as one, pytest.raises(Refused, match="denied"):
            one.grant(6)
        with database(folder / "registry.sqlite") as one:
            with pytest.raises((Refused, Unavailable)):
                put(one, "a", b"2", revision)
        folder.chmod(0o700)
        with database(folder / "registry.sqlite") as one:
            assert values(one) == {"a": b"1"}


@pytest.mark.parametrize("what", ["the folder", "a link", "a folder instead"])
def test_what_is_no_file_of_ours_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "state" / "registry.sqlite"
    if what != "the folder":
        path.parent.mkdir()
    if what == "a link":
        (tmp_path / "precious").touch()
        path.symlink_to(tmp_path / "precious")
    if what == "a folder instead":
        path.mkdir()
    with database(path) as one, pytest.raises(Refused, match=r"No such file|is not a file"):
        one.read()


def test_only_the_owner_may_read_the_files(path: Path, client: Make) -> None:
    before = os.umask(0)
    try:
        client().put("a", b"1")
        modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_a_file_that_is_removed_while_it_is_used_is_made_again_empty(
    path: Path, client: Make
) -> None:
    one, other = client(), client()
    followed = other.follow()
    lease = one.grant(60)
    before = one.put("a", b"1", lease=lease)
    followed.sees({"a": b"1"})
    for file in path.parent.iterdir():
        file.unlink()
    followed.sees({})
    with pytest.raises(LeaseLost):
        one.renew(lease)
    after = one.put("a", b"2")
    followed.sees({"a": b"2"})
    assert after > before
    assert other.values() == {"a": b"2"}


@pytest.mark.parametrize("part", ["items", "deleted", "leases", "state", "items_by_lease"])
def test_what_is_dropped_is_made_again_and_followers_begin_anew(
    path: Path, client: Make, part: str
) -> None:
    one = client()
    followed = one.follow()
    a = one.put("a", b"1")
    followed.sees({"a": b"1"})
    execute(path, f"DROP {'INDEX' if '_' in part else 'TABLE'} {part}")
    eventually(lambda: len([each for each in followed.batches if each.is_whole]) == 2)
    assert followed.values() == ({} if part == "items" else {"a": b"1"})
    assert one.put("b", b"1") > a


def test_an_emptied_table_is_said_and_does_not_end_the_following(path: Path, client: Make) -> None:
    one = client()
    followed = one.follow()
    one.put("a", b"1")
    with logged() as lines:
        execute(path, "DELETE FROM state")
        eventually(lambda: lines, "it is said")
        with pytest.raises(Unavailable, match="empty"):
            one.read()
        execute(path, "INSERT INTO state VALUES (1, 'another', 9000000000000, 0)")
        eventually(lambda: followed.failure is None, "it goes on")
    eventually(lambda: followed.batches[-1].revision == 9_000_000_000_000)
    followed.sees({"a": b"1"})


def test_on_a_full_disk_nothing_is_lost_and_it_goes_on_when_there_is_space(tmp_path: Path) -> None:
    failed = 0
    for size in range(0, 120_000, 4120):
        folder = tmp_path / str(size)
        folder.mkdir()
        with database(folder / "registry.sqlite") as one:
            done: dict[str, bytes] = {}
            if size % 2:
                put(one, "before", b"1")
                done["before"] = b"1"
            with files_of_at_most(size):
                for number in range(6):
                    key, value = str(number), bytes([number]) * 5000
                    try:
                        put(one, key, value)
                    except Unavailable:
                        failed += 1
                    else:
                        done[key] = value
            put(one, "after", b"1")
            assert values(one) == done | {"after": b"1"}
        with database(folder / "registry.sqlite") as later:
            assert values(later) == done | {"after": b"1"}
    assert failed > 25


def test_after_a_restart_of_the_machine_all_leases_are_over(path: Path) -> None:
    with database(path) as one:
        lease = one.grant(1000)
        put(one, "servers/s1", b"1", lease=lease)
        put(one, "farm", b"1")
    with database(path, "the next boot") as later:
        assert values(later) == {"farm": b"1"}
        with pytest.raises(LeaseLost):
            later.renew(lease)
        lease = later.grant(1000)
        put(later, "servers/s1", b"2", lease=lease)
        later.renew(lease)
        assert values(later) == {"farm": b"1", "servers/s1": b"2"}


def test_the_history_is_bounded_and_who_is_behind_it_reads_all(path: Path) -> None:
    with database(path, kept=10) as one:
        revision = put(one, "a", b"1")
        put(one, "stays", b"1")
        seen, _ = one.changes(NOTHING) or (NOTHING, None)
        removal = Transaction({"a": revision}, deletes=frozenset({"a"}))
        assert one.commit(removal)
        new = one.changes(seen)
        assert new
        assert new[1].deletes == {"a"}
        for number in range(30):
            last = put(one, f"{number}", b"1")
            one.commit(Transaction({str(number): last}, deletes=frozenset({str(number)})))
        new = one.changes(seen)
        assert new
        assert new[1].is_whole
        assert list(new[1].puts) == ["stays"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM deleted").fetchone()[0] <= 10


def test_a_value_that_somebody_put_as_text_is_bytes(path: Path, client: Make) -> None:
    one = client()
    one.put("a", b"1")
    execute(path, "UPDATE items SET value = 'text'")
    assert one.values() == {"a": b"text"}


def test_more_calls_than_may_wait_fail_at_once(client: Make) -> None:
    one = client()

    def begin() -> Deferred[list[object]]:
        return gatherResults(
            [
                Deferred.fromCoroutine(one.itself.grant(60)).addErrback(
                    lambda failure: failure.type
                )
                for _ in range(LIMIT + 5)
            ]
        )

    outcomes = call(begin)
    assert outcomes[LIMIT:] == [Unavailable] * 5
    assert one.values() == {}


def test_a_call_that_hangs_ends_in_time_and_so_does_the_closing(
    path: Path, client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homing.shared.registry.sqlite.registry.TIMEOUT", 0.3)
    monkeypatch.setattr("homing.shared.registry.sqlite.registry.CLOSING", 0.3)
    one = client()
    one.put("a", b"1")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        before = time.monotonic()
        for _ in range(3):
            with pytest.raises(Unavailable, match="no answer"):
                one.put("b", b"1")
        one.close()
        assert time.monotonic() - before < WITHIN / 2


def test_processes_that_make_the_file_at_once_are_all_served(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"registry{number}.sqlite"
        databases = [Database(path, lambda path: None) for _ in range(6)]
        with ThreadPoolExecutor(len(databases)) as pool:
            granted = list(pool.map(lambda one: one.grant(60), databases))
        assert len(set(granted)) == len(databases)
        for one in databases:
            one.close()


def test_each_commit_shows_even_where_the_log_is_written_from_its_start_again(path: Path) -> None:
    with database(path) as ours, database(path) as theirs:

        def settled() -> object:
            eventually(lambda: ours.written() is not None)
            return ours.written()

        revision = put(ours, "key", b"0")
        before = settled()
        for number in range(4):
            ours.changes(NOTHING)
            assert settled() == before
            if number % 2:
                checkpoint(path)
            revision = put(theirs, "key", b"%d" % (number % 2), expected=revision)
            assert ours.written() is None
            after = settled()
            assert after != before
            before = after
