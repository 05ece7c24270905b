"""Attempts to connect, with a deadline that allows for pauses of this process."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from homing.shared.deadlines import Clock, Deadline

_Result = TypeVar("_Result")


def within(clock: Clock, seconds: float, attempt: Deferred[_Result]) -> Deferred[_Result]:
    """`attempt`; after so many seconds it is cancelled, and fails with Twisted's TimeoutError."""
    late = False

    def give_up() -> None:
        nonlocal late
        late = True
        attempt.cancel()

    deadline = Deadline(clock, seconds, give_up)

    def over(outcome: _Result | Failure) -> _Result | Failure:
        deadline.cancel()
        return Failure(error.TimeoutError()) if late and isinstance(outcome, Failure) else outcome

    return attempt.addBoth(over)
