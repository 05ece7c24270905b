"""Lines wait, are dropped and counted; whoever logs never waits."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from homing.farm.logs.writer import LogWriter

Pipe = tuple[int, int]


@pytest.fixture(name="pipe")
def pipe_() -> Iterator[Pipe]:
    """The smallest pipe there is."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    with suppress(OSError):  # a test has closed it
        os.close(reader)
    # the other end stays: a thread may still write, and somebody else get its number


def dropped(count: int) -> str:
    return f"dropped {count}\n"


def read_until(reader: int, enough: Callable[[bytes], bool]) -> list[str]:
    said = b""
    while not enough(said):
        more = os.read(reader, 65536)
        assert more
        said += more
    return said.decode().splitlines()


def test_lines_are_written_whole_and_in_order(pipe: Pipe) -> None:
    reader, writer = pipe
    log = LogWriter(writer, dropped)
    log.start()
    lines = [f"{number} {'x' * number}" for number in range(500)]
    for line in lines:
        log.write(f"{line}\n")
    assert read_until(reader, lambda said: said.count(b"\n") == 500) == lines
    log.flush(5)


@pytest.mark.parametrize("limits", [{"most_lines": 20}, {"most_bytes": 2000}], ids=str)
def test_what_does_not_fit_is_dropped_and_counted_when_somebody_reads(
    pipe: Pipe, limits: Any
) -> None:
    reader, writer = pipe
    log = LogWriter(writer, dropped, **limits)
    os.write(writer, b"#" * 4095 + b"\n")
    log.start()
    for number in range(500):  # would block here for ever
        log.write(f"{number:099}\n")
    _, *said = read_until(reader, lambda said: b"dropped" in said)
    last = said.pop()
    assert [int(line) for line in said] == list(range(len(said)))
    assert 10 < len(said) < 100
    assert last == f"dropped {500 - len(said)}"
    log.write("and on\n")
    assert read_until(reader, lambda said: b"\n" in said) == ["and on"]


def test_nothing_is_written_before_the_start_for_the_process_may_fork(pipe: Pipe) -> None:
    reader, writer = pipe
    os.set_blocking(reader, False)
    log = LogWriter(writer, dropped)
    log.write("early\n")
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.set_blocking(reader, True)
    log.flush(5)
    assert os.read(reader, 100) == b"early\n"


def test_the_end_waits_for_nobody_who_does_not_read(pipe: Pipe) -> None:
    _, writer = pipe
    log = LogWriter(writer, dropped)
    for _ in range(100):
        log.write("x" * 99 + "\n")
    log.flush(0.05)  # the test's own timeout is what would be missed


def test_a_reader_that_has_gone_is_no_reason_to_fail_or_to_wait(pipe: Pipe) -> None:
    reader, writer = pipe
    os.close(reader)
    failed: list[int | None] = []
    happened = threading.Event()

    def note(error: OSError) -> None:
        failed.append(error.errno)
        happened.set()

    log = LogWriter(writer, dropped, note)
    log.start()
    log.write("nobody\n")
    assert happened.wait(10)
    for _ in range(100):
        log.write("nobody\n")
    log.flush(60)  # returns at once
    assert len(failed) == 1


def test_a_full_disk_is_survived_and_the_lines_it_cost_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    happened = threading.Event()
    log = LogWriter(full, dropped, lambda error: happened.set())
    log.start()
    log.write("one\n")
    assert happened.wait(10)
    log.write("two\n")
    os.dup2(writer, full)  # there is room again
    said = read_until(reader, lambda said: b"dropped" in said and b"two" in said)
    assert sorted(said) == ["dropped 1", "two"]
    os.close(reader)


def test_a_terminal_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    log = LogWriter(writer, dropped)
    log.start()
    for number in range(1000):
        log.write(f"{number:099}\n")
    said = read_until(reader, lambda said: said.count(b"\n") == 1000)
    assert [int(line) for line in said] == list(range(1000))
    log.flush(5)


def test_a_signal_handler_may_log_in_the_midst_of_logging(pipe: Pipe) -> None:
    reader, writer = pipe
    log = LogWriter(writer, dropped)
    with log._changed:  # where a signal may come
        log.write("from the handler\n")
    log.flush(5)
    assert os.read(reader, 100) == b"from the handler\n"
