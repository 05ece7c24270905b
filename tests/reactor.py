"""The real Twisted reactor, run once a test process in a thread of its own.

Tests stay on the main thread and talk to it by ordinary blocking sockets.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

WITHIN = 20.0
"""Seconds that anything may take on a slow machine."""

HOST = f"127.{os.getpid() >> 14 & 127 | 128}.{os.getpid() >> 7 & 127}.{os.getpid() & 127 | 1}"
"""A loopback address that no other test process uses, so that ports do not collide."""


@cache
def reactor() -> Any:
    """The reactor, running."""
    from twisted.internet import reactor as installed

    # Else Twisted keeps every event, and with it what its exceptions hold on to
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    started = threading.Event()
    running: Any = installed
    running.callWhenRunning(started.set)
    options = {"installSignalHandlers": False}
    threading.Thread(target=running.run, kwargs=options, daemon=True).start()
    assert started.wait(WITHIN)
    return running


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, or its Deferred fires with, when the reactor calls it."""
    outcome: Future[Any] = Future()

    def run() -> None:
        maybeDeferred(function, *arguments).addCallbacks(
            outcome.set_result, lambda failure: outcome.set_exception(failure.value)
        )

    reactor().callFromThread(run)
    return outcome.result(WITHIN)


class Blocked:
    """A context in which the reactor stands still, as if its process were busy."""

    def __enter__(self) -> None:
        self._go_on = threading.Event()
        held = threading.Event()

        def hold() -> None:
            held.set()
            self._go_on.wait(WITHIN)

        reactor().callFromThread(hold)
        assert held.wait(WITHIN)

    def __exit__(self, *exception: object) -> None:
        self._go_on.set()


def eventually(condition: Callable[[], object], what: str = "", within: float = WITHIN) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what or condition}"
        time.sleep(0.01)


def descriptors() -> int:
    """The open sockets of this process."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count


def watched() -> int:
    """What the reactor watches: readers and writers."""
    return int(call(lambda: len(reactor()._reads) + len(reactor()._writes)))


def timers() -> list[str]:
    """The calls that the reactor has still to make."""
    return list(call(lambda: [str(one) for one in reactor().getDelayedCalls()]))


def _complaint(event: LogEvent) -> str:
    failure = event["log_failure"]
    return failure.getTraceback() if isinstance(failure, Failure) else repr(event)


@pytest.fixture(autouse=True)
def _clean_reactor(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test may leave a descriptor or a watch behind, nor an exception in the log.

    Those marked `defect` must leave one.
    """
    complaints: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            complaints.append(_complaint(event))

    before = watched(), descriptors()
    globalLogPublisher.addObserver(observe)
    yield
    if descriptors() > before[1]:
        gc.collect()  # failed attempts to listen are left to it
    try:
        eventually(lambda: watched() <= before[0], "the reactor watches no more than before", 8)
        eventually(lambda: descriptors() <= before[1], "no descriptor is left", 8)
    finally:
        globalLogPublisher.removeObserver(observe)
    if request.node.get_closest_marker("defect"):
        assert complaints, "the defect is not in the log"
    else:
        assert complaints == [], complaints[0]
