"""Many that wait equally long: each is late in its own time, and a pause is nobody's fault."""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.task import Clock

from homing.server.tls.common_deadline import CommonDeadline


class Waits:
    """Notes when it was late."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at: list[float] = []

    def late(self) -> None:
        """Its time is over."""
        self.at.append(self._clock.seconds())


def test_each_is_late_in_its_own_time_and_once_unless_it_has_ended() -> None:
    clock = Clock()
    deadline = CommonDeadline(clock, 4.0)
    waiting = [Waits(clock) for _ in range(4)]
    for one in waiting:
        deadline.begin(one)
        clock.advance(0.25)
    deadline.end(waiting[0])
    deadline.end(waiting[2])
    deadline.end(waiting[2])
    clock.pump([0.25] * 40)
    assert [one.at for one in waiting] == [[], [4.25], [], [4.75]]
    deadline.begin(waiting[0])
    clock.pump([0.25] * 40)
    assert len(waiting[0].at) == 1
    assert clock.getDelayedCalls() == []


def test_a_pause_of_the_process_gives_all_of_them_their_whole_time_again() -> None:
    clock = Clock()
    deadline = CommonDeadline(clock, 4.0)
    first, second = Waits(clock), Waits(clock)
    deadline.begin(first)
    clock.advance(3.9)
    deadline.begin(second)
    clock.advance(60)
    assert first.at == second.at == []
    clock.pump([0.25] * 20)
    assert len(first.at) == len(second.at) == 1
    assert 67 < first.at[0] < 69


def test_a_process_that_is_always_late_gives_up_in_the_end() -> None:
    clock = Clock()
    deadline = CommonDeadline(clock, 4.0)
    one = Waits(clock)
    deadline.begin(one)
    clock.pump([5.0] * 20)
    assert len(one.at) == 1


def test_one_that_is_late_may_begin_anew_at_once() -> None:
    clock = Clock()
    deadline = CommonDeadline(clock, 4.0)

    class Again(Waits):
        def late(self) -> None:
            super().late()
            deadline.begin(self)

    one = Again(clock)
    deadline.begin(one)
    clock.pump([0.25] * 50)
    assert one.at == [4.0, 8.0, 12.0]


def test_one_that_fails_when_it_is_late_takes_no_time_from_the_others() -> None:
    class Fails(Waits):
        def late(self) -> None:
            super().late()
            raise ValueError("no")

    clock = Clock()
    deadline = CommonDeadline(clock, 4.0)
    first, second, third = Fails(clock), Waits(clock), Waits(clock)
    deadline.begin(first)
    deadline.begin(second)
    for _ in range(20):
        with suppress(ValueError):
            clock.advance(0.25)
    deadline.begin(third)
    clock.pump([0.25] * 20)
    assert [len(one.at) for one in (first, second, third)] == [1, 1, 1]
    assert clock.getDelayedCalls() == []


def test_no_timer_is_left_when_it_is_stopped_and_it_may_go_on_afterwards() -> None:
    clock = Clock()
    deadline = CommonDeadline(clock, 4.0)
    first, second = Waits(clock), Waits(clock)
    deadline.begin(first)
    deadline.stop()
    assert clock.getDelayedCalls() == []
    deadline.begin(second)
    clock.pump([0.25] * 20)
    assert (first.at, second.at) == ([], [4.0])
