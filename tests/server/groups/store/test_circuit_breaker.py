"""A store that fails is left alone, and asked again ever more rarely."""

from __future__ import annotations

from itertools import product

from twisted.internet.task import Clock

from homing.server.groups.store.circuit_breaker import (
    NEXT,
    BreakerEvent,
    BreakerState,
    CircuitBreaker,
)

CALM = 5.0


class Store:
    """A breaker, and when its store was probed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.probed: list[float] = []
        self.put_back = 0.0
        """Seconds by which the clock was put back."""
        self.breaker = CircuitBreaker(
            self.clock,
            lambda: self.probed.append(self.clock.seconds()),
            now=lambda: self.clock.seconds() + self.put_back,
            backoff=lambda attempt: min(2.0**attempt, CALM),
            calm=CALM,
        )

    def fails_for(self, seconds: int) -> list[float]:
        """When it is probed while every probe fails, counted from now."""
        begun = self.clock.seconds()
        self.probed.clear()
        self.breaker.happened(BreakerEvent.FAILURE)
        for _ in range(seconds):
            self.clock.advance(1)
            if self.breaker.state is BreakerState.HALF_OPEN:
                self.breaker.happened(BreakerEvent.PROBE_FAILURE)
        return [one - begun for one in self.probed]

    def recovers(self) -> None:
        self.clock.advance(CALM)
        assert self.breaker.happened(BreakerEvent.PROBE_SUCCESS)
        assert self.breaker.is_closed


def test_every_event_has_an_answer_in_every_state() -> None:
    assert NEXT.keys() == set(product(BreakerState, BreakerEvent))


def test_pauses_grow_up_to_the_longest() -> None:
    assert Store().fails_for(20) == [1, 3, 7, 12, 17]


def test_pauses_begin_anew_only_after_a_good_time() -> None:
    store = Store()
    store.fails_for(20)
    store.recovers()
    store.clock.advance(CALM)
    assert store.fails_for(10) == [5, 10], "it was well for too short a time"
    store.recovers()
    store.clock.advance(CALM + 0.1)
    assert store.fails_for(10) == [1, 3, 7]


def test_a_failure_counts_once_however_many_operations_it_costs() -> None:
    store = Store()
    assert [store.breaker.happened(BreakerEvent.FAILURE) for _ in range(3)] == [True, False, False]
    assert len(store.clock.getDelayedCalls()) == 1


def test_what_was_begun_before_a_probe_does_not_tell_of_the_store() -> None:
    store = Store()
    store.breaker.happened(BreakerEvent.FAILURE)
    assert not store.breaker.happened(BreakerEvent.PROBE_SUCCESS), "that of the start"
    store.clock.advance(1)
    assert not store.breaker.happened(BreakerEvent.FAILURE)
    assert store.breaker.happened(BreakerEvent.PROBE_SUCCESS)


def test_a_clock_that_is_put_back_delays_no_probe_that_somebody_would_need() -> None:
    store = Store()
    store.breaker.happened(BreakerEvent.FAILURE)
    store.put_back = 3600.0
    store.clock.rightNow -= 3600.0
    assert not store.breaker.allows()
    assert store.probed == []
    store.clock.advance(1)
    assert not store.breaker.allows()
    assert store.breaker.happened(BreakerEvent.PROBE_SUCCESS)
    assert store.breaker.allows()
    assert store.clock.getDelayedCalls() == []


def test_a_breaker_that_is_stopped_probes_no_more() -> None:
    store = Store()
    store.breaker.happened(BreakerEvent.FAILURE)
    store.breaker.stop()
    store.breaker.stop()
    assert store.clock.getDelayedCalls() == []
