"""Nonces: none comes twice under one key, whatever happens to the process, its file or its clock.

Two identifiers of one nonce would be the same identifier: two clients, one session ID.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import homing
from homing.server.identifiers.nonces import COUNTER_LENGTH, Nonces
from homing.shared.errors import HomingError
from homing.shared.schemes.keyed import NONCE_LENGTH

NOW = 1_700_000_000.0
SAME = lambda count: bytes(count)  # noqa: E731 - randomness that never helps


class Starts:
    """Starts of one server, one after the other, on one file."""

    def __init__(self, path: Path, randbytes: Callable[[int], bytes] = SAME) -> None:
        self.path = path
        self.now = NOW
        self.said: list[str] = []
        self._randbytes = randbytes

    def start(self) -> Nonces:
        return Nonces(self.path, lambda: self.now, self._randbytes, self.said.append)

    def content(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def put_back(self, content: bytes | None) -> None:
        if content is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_bytes(content)


@pytest.fixture(name="starts")
def starts_(tmp_path: Path) -> Starts:
    """A server whose random bytes are always the same."""
    return Starts(tmp_path / "s1.nonce")


def take(nonces: Nonces, count: int) -> list[bytes]:
    return [nonces() for _ in range(count)]


def counter(nonce: bytes) -> int:
    return int.from_bytes(nonce[:COUNTER_LENGTH], "big")


def test_a_nonce_fills_what_the_block_leaves_for_it(starts: Starts) -> None:
    assert {len(nonce) for nonce in take(starts.start(), 3)} == {NONCE_LENGTH} == {10}


def test_many_in_one_run_beyond_a_step_and_none_twice(starts: Starts) -> None:
    nonces = take(starts.start(), 150_000)
    assert len(set(nonces)) == 150_000


def test_a_restart_within_the_same_moment_repeats_none(starts: Starts) -> None:
    seen = [nonce for _ in range(20) for nonce in take(starts.start(), 5)]
    assert len(set(seen)) == 100


def test_a_server_killed_after_many_draws_repeats_none(starts: Starts) -> None:
    first = take(starts.start(), 70_000)  # nothing is noted down at the end of a process
    assert not set(first) & set(take(starts.start(), 70_000))


def test_a_start_that_draws_nothing_writes_nothing(starts: Starts) -> None:
    starts.start()
    assert starts.content() is None


def test_what_is_drawn_is_reserved_on_disk_before(starts: Starts) -> None:
    nonces = starts.start()
    for _ in range(3):
        drawn = counter(take(nonces, 1)[0])
        written = starts.content()
        assert written is not None
        assert drawn < int(written)
        take(nonces, 1 << 16)


def test_a_file_from_a_backup_repeats_none_since_the_clock_has_gone_on(starts: Starts) -> None:
    before = starts.content()
    take(starts.start(), 1)
    older = starts.content()
    seen = take(starts.start(), 1000)
    for replayed in (older, before):
        starts.now += 1.1
        starts.put_back(replayed)
        again = take(starts.start(), 1000)
        assert not set(seen) & set(again)
        seen += again


def test_a_clock_put_back_repeats_none_since_the_file_remembers(starts: Starts) -> None:
    seen = take(starts.start(), 1000)
    for seconds in (3600, 10 * 365 * 86400, NOW):
        starts.now = NOW - seconds
        again = take(starts.start(), 1000)
        assert not set(seen) & set(again)
        seen += again


def test_both_put_back_leave_it_to_32_random_bits_that_differ_at_every_start(
    tmp_path: Path,
) -> None:
    starts = Starts(tmp_path / "nonce", Random(1).randbytes)
    seen = take(starts.start(), 1000)
    for _ in range(5):
        starts.put_back(None)
        again = take(starts.start(), 1000)
        assert not set(seen) & set(again)
        assert {nonce[COUNTER_LENGTH:] for nonce in again} != {seen[0][COUNTER_LENGTH:]}
        seen += again
    assert len({nonce[COUNTER_LENGTH:] for nonce in seen}) == 6


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"rubbish\n",
        b"-5\n",
        b"1.5\n",
        b"12 13\n",
        b"\xff\xfe\0",
        "\u0665\n".encode(),  # a digit, but not ours
        b"0x10\n",
        b"9" * 30,
        b"9" * 5000,
        str(1 << 48).encode(),
    ],
    ids=lambda content: content[:8].hex(),
)
def test_a_file_of_no_use_is_named_and_the_clock_goes_on(content: bytes, starts: Starts) -> None:
    starts.put_back(content)
    nonces = take(starts.start(), 10)
    assert [str(starts.path) in line for line in starts.said] == [True]
    assert counter(nonces[0]) >= NOW * 64_000
    assert len(set(nonces)) == 10
    assert not set(nonces) & set(take(starts.start(), 10))


def test_a_file_that_counts_to_the_very_end_does_not_stop_the_server(starts: Starts) -> None:
    """A damaged file with a huge number: session IDs must go on, not fail one handshake each."""
    starts.put_back(str((1 << 48) - 1).encode())
    nonces = take(starts.start(), 1000)
    assert len(set(nonces)) == 1000
    assert starts.said


def test_a_folder_in_the_place_of_the_file_is_named(starts: Starts) -> None:
    starts.path.mkdir()
    starts.start()
    assert [str(starts.path) in line for line in starts.said] == [True]


def test_a_file_that_cannot_be_written_is_an_error_and_no_nonce(starts: Starts) -> None:
    nonces = Nonces(starts.path.parent / "gone" / "nonce", lambda: NOW, SAME, starts.said.append)
    with pytest.raises(HomingError, match="gone"):
        nonces()
    with pytest.raises(HomingError, match="gone"):
        nonces()


def test_a_disk_that_fills_up_in_between_skips_but_repeats_nothing(starts: Starts) -> None:
    nonces = starts.start()
    seen = take(nonces, 1 << 16)
    hidden = starts.path.parent.with_name("hidden")
    starts.path.parent.rename(hidden)
    for _ in range(3):
        with pytest.raises(HomingError):
            nonces()
    hidden.rename(starts.path.parent)
    seen += take(nonces, 10)
    seen += take(starts.start(), 10)
    assert len(set(seen)) == len(seen)


def test_no_temporary_file_is_left(starts: Starts) -> None:
    take(starts.start(), 70_000)
    assert os.listdir(starts.path.parent) == [starts.path.name]


_CHILD = """
import sys, time
from secrets import token_bytes
from pathlib import Path
from homing.server.identifiers.nonces import Nonces
nonces = Nonces(Path(sys.argv[1]), time.time, token_bytes, print)
for _ in range(int(sys.argv[2])):
    print(nonces().hex())
"""


def test_a_process_killed_and_started_again_repeats_none(tmp_path: Path) -> None:
    path, seen = tmp_path / "nonce", list[str]()
    for _ in range(4):
        with _child(path, 10_000_000) as process:
            assert process.stdout is not None
            seen += [process.stdout.readline() for _ in range(1000)]
            process.kill()
            rest, _ = process.communicate()
            seen += rest.splitlines(keepends=True)[:-1]
    assert len(seen) > 4000
    assert len(set(seen)) == len(seen)


@contextmanager
def _child(path: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    code = Path(str(homing.__file__)).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), str(count)],
        stdout=subprocess.PIPE,
        encoding="ascii",
        env={**os.environ, "PYTHONPATH": str(code)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class History(RuleBasedStateMachine):
    """Restarts, clocks that jump, files put back: never clock and file at the same time."""

    @initialize()
    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.starts = Starts(Path(self._folder.name) / "nonce")
        self.seen: set[bytes] = set()
        self.backups: list[bytes | None] = [None]
        self.highest = self.starts.now
        self.nonces = self.starts.start()

    @rule(count=st.sampled_from([1, 7, 300, 66_000]))
    def draw(self, count: int) -> None:
        fresh = take(self.nonces, count)
        assert len(set(fresh)) == count
        assert self.seen.isdisjoint(fresh)
        self.seen.update(fresh)

    @rule()
    def restart(self) -> None:
        self.nonces = self.starts.start()

    @rule(seconds=st.sampled_from([-1e9, -3600.0, -0.001, 0.5, 60.0]))
    def restart_with_another_clock(self, seconds: float) -> None:
        self.starts.now = max(0.0, self.starts.now + seconds)
        self.highest = max(self.highest, self.starts.now)
        self.nonces = self.starts.start()

    @rule()
    def back_up(self) -> None:
        self.backups.append(self.starts.content())

    @rule(data=st.data(), later=st.sampled_from([30.0, 3600.0]))
    def restart_from_a_backup_with_a_clock_that_is_right(
        self, data: st.DataObject, later: float
    ) -> None:
        self.starts.put_back(data.draw(st.sampled_from(self.backups)))
        self.highest = self.starts.now = self.highest + later
        self.nonces = self.starts.start()

    @rule(rubbish=st.binary(max_size=20))
    def restart_with_a_damaged_file(self, rubbish: bytes) -> None:
        if rubbish.strip().isdigit():
            return
        self.starts.put_back(rubbish)
        self.highest = self.starts.now = self.highest + 30.0
        self.nonces = self.starts.start()

    def teardown(self) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()


TestHistory = settings(max_examples=40, stateful_step_count=15)(History).TestCase


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_two_starts_on_two_machines_with_copied_files_differ_by_their_random_bytes(
    one: float, other: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        luck = Random(1)
        nonces = [
            Nonces(Path(folder) / str(number), lambda now=now: now, luck.randbytes, print)  # type: ignore[misc]
            for number, now in enumerate((one, other))
        ]
        assert not set(take(nonces[0], 50)) & set(take(nonces[1], 50))
