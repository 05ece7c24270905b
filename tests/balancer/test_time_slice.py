"""A turn of the reactor works on new connections for a while only, then looks at the others."""

from __future__ import annotations

from homing.balancer.time_slice import BUDGET, TimeSlice
from tests.turns import TurningClock


def works(time_slice: TimeSlice, clock: TurningClock, seconds: float) -> bool:
    """Whether there was time for a piece of work that takes so long."""
    if not time_slice.begin():
        return False
    clock.rightNow += seconds
    time_slice.end()
    return True


def test_costly_work_ends_the_turn_and_the_next_one_goes_on() -> None:
    clock = TurningClock()
    time_slice = TimeSlice(clock)
    for _ in range(3):
        assert works(time_slice, clock, BUDGET / 2)
        assert works(time_slice, clock, BUDGET)
        assert not works(time_slice, clock, 0)
        assert not works(time_slice, clock, 0)
        clock.advance(0)


def test_cheap_work_costs_no_timer() -> None:
    clock = TurningClock()
    time_slice = TimeSlice(clock)
    for _ in range(10):
        assert works(time_slice, clock, BUDGET / 20)
    assert clock.calls == []


def test_a_clock_that_jumps_back_is_no_work() -> None:
    clock = TurningClock()
    time_slice = TimeSlice(clock)
    assert works(time_slice, clock, -100.0)
    assert works(time_slice, clock, 2 * BUDGET)
    assert not works(time_slice, clock, 0)
