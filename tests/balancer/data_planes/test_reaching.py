"""A server is not unreachable because the balancer stood still while it connected."""

from __future__ import annotations

import pytest
from twisted.internet import error
from twisted.internet.defer import Deferred

from homing.balancer.data_planes.reaching import within
from tests.turns import TurningClock

SECONDS = 3.0


def attempt(clock: TurningClock) -> tuple[Deferred[str], list[object]]:
    connecting: Deferred[str] = Deferred()
    outcomes: list[object] = []
    within(clock, SECONDS, connecting).addCallbacks(
        outcomes.append, lambda failure: outcomes.append(failure.type)
    )
    return connecting, outcomes


def test_an_attempt_that_succeeds_leaves_no_timer() -> None:
    clock = TurningClock()
    connecting, outcomes = attempt(clock)
    connecting.callback("there")
    assert outcomes == ["there"]
    assert clock.calls == []


def test_an_attempt_that_takes_too_long_fails_as_one() -> None:
    clock = TurningClock()
    _, outcomes = attempt(clock)
    clock.pump([SECONDS, 0])
    assert outcomes == [error.TimeoutError]


def test_a_connection_that_was_made_during_a_pause_counts() -> None:
    clock = TurningClock()
    connecting, outcomes = attempt(clock)
    clock.advance(10 * SECONDS)  # timers first, as after a SIGCONT; then the connection is seen
    connecting.callback("there")
    assert outcomes == ["there"]


@pytest.mark.parametrize("cause", [error.ConnectionRefusedError, error.NoRouteError])
def test_another_failure_stays_what_it_is(cause: type[Exception]) -> None:
    clock = TurningClock()
    connecting, outcomes = attempt(clock)
    connecting.errback(cause())
    assert outcomes == [cause]
    assert clock.calls == []
