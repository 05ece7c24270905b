"""Deadlines: nobody is given up because this process stood still."""

from __future__ import annotations

from homing.shared.deadlines import PAUSED, Deadline
from tests.turns import TurningClock


def deadline(clock: TurningClock, seconds: float) -> tuple[Deadline, list[float]]:
    ended: list[float] = []
    return Deadline(clock, seconds, lambda: ended.append(clock.seconds())), ended


def test_it_ends_in_time_a_turn_of_the_reactor_after_its_timer() -> None:
    clock = TurningClock()
    _, ended = deadline(clock, 2.0)
    clock.advance(1.9)
    clock.advance(0.1)
    assert ended == []  # what has come by now can be read first
    clock.advance(0)
    assert ended == [2.0]


def test_what_is_read_in_that_turn_can_still_cancel_it() -> None:
    clock = TurningClock()
    one, ended = deadline(clock, 2.0)
    clock.advance(2.0)
    one.cancel()
    clock.pump([0, 10])
    assert ended == []


def test_a_pause_of_this_process_gives_the_other_side_its_time_anew() -> None:
    clock = TurningClock()
    _, ended = deadline(clock, 2.0)
    clock.advance(2.0 + PAUSED + 0.1)
    clock.advance(0)
    assert ended == []
    clock.advance(2.0)
    clock.advance(0)
    assert len(ended) == 1


def test_a_pause_in_the_last_turn_before_the_end_is_forgiven_too() -> None:
    clock = TurningClock()
    _, ended = deadline(clock, 2.0)
    clock.advance(2.0)
    clock.advance(PAUSED + 0.1)  # nothing has been read since
    assert ended == []
    clock.pump([2.0, 0])
    assert len(ended) == 1


def test_a_process_that_is_always_late_gives_up_in_the_end() -> None:
    clock = TurningClock()
    _, ended = deadline(clock, 1.0)
    for _ in range(20):
        clock.advance(1.0 + PAUSED + 0.1)
    assert len(ended) == 1


def test_cancelled_twice_or_too_late_is_no_error() -> None:
    clock = TurningClock()
    one, ended = deadline(clock, 1.0)
    clock.pump([1.0, 0])
    one.cancel()
    one.cancel()
    assert len(ended) == 1
