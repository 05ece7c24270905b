"""A balancer that is restarted while the registry is down routes at once as before."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThreadPool

from homing.balancer.follower import Follower, Routes
from homing.balancer.saved import PAUSE, RETRY, Saved
from homing.balancer.saved_form import LARGEST, from_bytes, to_bytes
from homing.server import files
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import (
    Exceptions,
    FarmValue,
    PartValue,
    Record,
    ServerFacts,
    ServerPresence,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange
from homing.shared.registry.interface import LARGEST_VALUE, Batch, Item, check_limits
from tests.logs import log
from tests.reactor import call, eventually, reactor

VALUES: dict[str, object] = {
    keys.FARM: FarmValue("range", b"HOME".hex(), 3),
    keys.part(3): PartValue("s1", drawn=True),
    keys.page(3, "s2", 0): Exceptions((b"HOME".ljust(32, b"x").hex(),)),
    keys.wish("s1"): Wish(ServerFacts("unix:s1.sock")),
    keys.record("own"): Record((IdRange.of_prefix(b"SRVA"),)),
}


WHY = r"it is|line of it"


def batch(values: dict[str, object], revision: int = 5, whole: bool = True) -> Batch:
    puts = {key: Item(encode(value), revision) for key, value in values.items()}
    return Batch(revision, puts, is_whole=whole)


def routes(known: Batch) -> Routes:
    """What a balancer that starts makes of it."""
    lines: list[str] = []
    view = View(lines.append)
    found = Follower(lambda names: {}, lines.append).follow(view, view.apply(known))
    assert lines == []
    return found


class Disk:
    """Files that are written when a test says so, or not."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.under_way: list[tuple[Callable[[], None], Deferred[None]]] = []
        self.written: list[bytes] = []
        self.is_full = False
        self.saved = Saved(self.clock, self._later, Path("routes"), Path.read_bytes, self._replace)
        self.saved.startService()

    def _later(self, write: Callable[[], None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.under_way.append((write, done))
        return done

    def _replace(self, path: Path, data: bytes) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written.append(data)

    def end(self) -> None:
        """The one that is under way ends."""
        ((write, done),) = self.under_way
        self.under_way.clear()
        maybeDeferred(write).chainDeferred(done)

    def change(self, revision: int) -> None:
        """A part gets another owner."""
        self.saved.note(batch({keys.part(4): PartValue("s1")}, revision, whole=False))


def on_disk(path: Path, clock: Clock | None = None) -> Saved:
    """One that really writes."""
    in_thread = partial(maybeDeferred)
    read = partial(files.read, secret=True)
    saved = Saved(clock or Clock(), in_thread, path, read, files.replace)
    saved.startService()
    return saved


def test_a_balancer_that_starts_without_the_registry_routes_as_the_one_before(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "routes", Clock()
    before = on_disk(path, clock)
    assert before.load() is None
    whole = batch({**VALUES, keys.server("s1"): ServerPresence(ServerFacts("unix:x"), "1")})
    before.note(whole)
    clock.advance(0)
    before.note(batch({keys.part(4): PartValue("s2")}, 6, whole=False))
    before.note(Batch(7, deletes=frozenset({keys.page(3, "s2", 0), keys.server("s1")})))
    call(before.stopService)
    loaded = on_disk(path).load()
    assert loaded is not None
    after = routes(loaded)
    now = {**VALUES, keys.part(4): PartValue("s2")}
    del now[keys.page(3, "s2", 0)]
    expected = routes(batch(now))
    assert list(after.table.lines()) == list(expected.table.lines())
    assert after.servers == expected.servers
    assert loaded.revision == 7
    assert keys.server("s1") not in loaded.puts
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["routes"]


def test_what_a_registry_has_lost_is_given_back_in_transactions_that_it_takes() -> None:
    large = {f"wishes/s{number}": Item(bytes(LARGEST_VALUE // 2), 5) for number in range(5)}
    many = {keys.part(number): Item(b"{}", 5) for number in range(200)}
    known = batch(VALUES)
    disk = Disk()
    disk.saved.note(attrs.evolve(known, puts={**known.puts, **large, **many}))
    given = list(disk.saved.lost(View()))
    for one in given:
        check_limits(one)
        assert one.expected[keys.FARM] == 0
    assert sum(len(one.puts) for one in given) == len({*VALUES, *large, *many})
    assert given[-1].puts.keys() == {keys.FARM}


def test_saving_happens_in_a_thread_of_the_reactor(tmp_path: Path) -> None:
    in_thread = partial(deferToThreadPool, reactor(), reactor().getThreadPool())
    path = tmp_path / "routes"
    saved = Saved(reactor(), in_thread, path, files.read, files.replace)
    call(saved.startService)
    call(saved.note, batch(VALUES))
    eventually(path.exists)
    call(saved.stopService)
    assert from_bytes(path.read_bytes()) == batch(VALUES)


class TestWhen:
    def test_a_storm_of_changes_is_saved_once_a_second(self) -> None:
        disk = Disk()
        for revision in range(1, 100):
            disk.change(revision)
            disk.clock.advance(0)
        assert disk.written == []
        disk.end()
        assert from_bytes(disk.written[0]).revision == 1
        disk.clock.advance(PAUSE * 0.9)
        assert disk.under_way == []
        disk.clock.advance(PAUSE * 0.2)
        disk.end()
        assert from_bytes(disk.written[1]).revision == 99
        disk.clock.advance(100)
        assert disk.under_way == []
        assert not disk.clock.getDelayedCalls()

    def test_where_saving_takes_long_it_happens_less_often(self) -> None:
        disk = Disk()
        disk.change(1)
        disk.clock.advance(0)
        disk.clock.advance(2)
        disk.change(2)
        disk.end()
        disk.clock.advance(19)
        assert disk.under_way == []
        disk.clock.advance(2)
        disk.end()

    def test_what_routing_does_not_depend_on_is_not_saved(self) -> None:
        disk = Disk()
        disk.saved.note(batch({keys.server("s1"): ServerPresence(ServerFacts("unix:x"), "1")}))
        disk.saved.note(Batch(2, deletes=frozenset({keys.server("s1"), keys.part(3)})))
        disk.clock.advance(10)
        assert disk.under_way == []

    def test_the_same_state_read_again_is_not_saved_again(self) -> None:
        disk = Disk()
        disk.saved.note(batch(VALUES))
        disk.clock.advance(0)
        disk.end()
        disk.saved.note(batch(VALUES))
        disk.clock.advance(10)
        assert disk.under_way == []

    def test_a_full_disk_is_said_once_and_what_changed_is_saved_when_there_is_room(self) -> None:
        disk = Disk()
        disk.is_full = True
        with log("homing.balancer") as lines:
            for revision in range(1, 4):
                disk.change(revision)
                disk.clock.advance(RETRY)
                disk.end()
            disk.is_full = False
            disk.clock.advance(RETRY)
            disk.end()
        assert from_bytes(disk.written[0]).revision == 3
        assert len(lines) == 2
        assert "routes cannot be saved: [Errno 28] No space left on device" in lines[0]
        assert lines[1] == "routes is saved again"

    def test_a_balancer_that_stops_saves_the_last_change_after_the_one_under_way(self) -> None:
        disk = Disk()
        disk.change(1)
        disk.clock.advance(0)
        disk.change(2)
        stopped = disk.saved.stopService()
        disk.end()
        assert not stopped.called
        disk.end()
        assert stopped.called
        assert from_bytes(disk.written[-1]).revision == 2
        assert not disk.clock.getDelayedCalls()


class TestForm:
    ITEMS = st.dictionaries(
        st.integers(0, 1 << 20).map(keys.part),
        st.builds(Item, st.binary(max_size=50), st.integers(0, 1 << 63)),
        max_size=9,
    )

    @given(st.integers(0, 1 << 63), ITEMS)
    def test_any_values_come_back_as_they_were(self, revision: int, items: dict[str, Item]) -> None:
        assert from_bytes(to_bytes(revision, items)) == Batch(revision, items, is_whole=True)

    @given(st.data())
    def test_a_file_that_is_not_whole_is_refused(self, data: st.DataObject) -> None:
        whole = to_bytes(7, batch(VALUES).puts)
        cut = data.draw(st.integers(0, len(whole) - 1))
        with pytest.raises(ValueError, match=WHY):
            from_bytes(whole[:cut])

    @given(st.binary(max_size=200))
    def test_a_file_of_anything_is_refused(self, anything: bytes) -> None:
        with pytest.raises(ValueError, match=WHY):
            from_bytes(anything)

    @pytest.mark.parametrize(
        "lines",
        [
            b'{"v":2,"revision":1,"keys":0}\n',
            b'{"v":1,"revision":"1","keys":0}\n',
            b'{"v":1,"revision":1,"keys":1}\n["servers/s1",1,"{}"]\n',
            b'{"v":1,"revision":1,"keys":1}\n["parts/1",1]\n',
            b'{"v":1,"revision":1,"keys":1}\n["parts/1","1","{}"]\n',
            b"[" * 100_000,
        ],
    )
    def test_nonsense_is_refused(self, lines: bytes) -> None:
        with pytest.raises(ValueError, match=WHY):
            from_bytes(lines)

    def test_neither_reading_nor_writing_takes_what_is_too_large(self, tmp_path: Path) -> None:
        large = {keys.part(n): Item(bytes(1 << 20), 1) for n in range(70)}
        with pytest.raises(HomingError, match="more than"):
            to_bytes(1, large)
        path = tmp_path / "routes"
        path.touch(0o600)
        os.truncate(path, LARGEST + 1)
        with log("homing.balancer") as lines:
            assert on_disk(path).load() is None
        assert "is ignored: it has more than" in lines[0]


@pytest.mark.parametrize("spoil", ["others", "content", "folder"])
def test_a_file_that_cannot_be_trusted_is_ignored_in_words(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "routes"
    if spoil == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"nonsense")
        path.chmod(0o666 if spoil == "others" else 0o600)
    with log("homing.balancer") as lines:
        assert on_disk(path).load() is None
    (line,) = lines
    assert line.startswith(f"{path} is ignored: ")


def test_nothing_is_left_to_do_after_the_end_although_the_disk_is_full() -> None:
    disk = Disk()
    disk.change(1)
    disk.clock.advance(0)
    disk.change(2)
    disk.is_full = True
    stopped = disk.saved.stopService()
    disk.end()
    disk.end()
    assert stopped.called
    assert not disk.clock.getDelayedCalls()
