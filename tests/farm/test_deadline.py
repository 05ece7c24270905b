"""Code of the user's that takes too long is broken off, and leaves no alarm behind."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from homing.farm.deadline import within

_LONG = 3600.0


@pytest.fixture(autouse=True)
def alarm_of_somebody_else() -> Iterator[None]:
    """One that goes off much later, as pytest's own."""

    def handler(*_: object) -> None:
        raise AssertionError("the alarm was rung")

    before = signal.signal(signal.SIGALRM, handler)
    timer = signal.setitimer(signal.ITIMER_REAL, _LONG)
    yield
    assert signal.getitimer(signal.ITIMER_REAL)[0] > _LONG / 2
    assert signal.getsignal(signal.SIGALRM) is handler
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *timer)


def _goes_on_after_an_exception() -> None:
    for _ in range(3):
        try:
            time.sleep(_LONG)
        except Exception:
            continue
    time.sleep(_LONG)


def _counts() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    "endless",
    [
        lambda: time.sleep(_LONG),
        lambda: re.match("(a+)+$", "a" * 60 + "b"),
        _counts,
        _goes_on_after_an_exception,
    ],
    ids=["sleeps", "searches", "counts", "goes on"],
)
def test_what_takes_too_long_does_not_stop_everybody(endless: Callable[[], None]) -> None:
    with pytest.raises(TimeoutError, match=r"took more than 0\.05 s"):
        within(0.05, endless)()


def test_what_is_in_time_returns_what_it_returns() -> None:
    assert within(60, divmod)(7, 2) == (3, 1)


def test_what_raises_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        within(60, divmod)(7, 0)


def test_a_thread_may_call_it_too() -> None:
    said = []
    thread = threading.Thread(target=lambda: said.append(within(60, divmod)(7, 2)))
    thread.start()
    thread.join()
    assert said == [(3, 1)]
