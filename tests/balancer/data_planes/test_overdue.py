"""One timer for many: who does nothing is ended in time, and nobody for a pause of the balancer."""

from __future__ import annotations

from homing.balancer.data_planes.overdue import Overdue
from tests.turns import TurningClock

SECONDS = 8.0


class World:
    """A clock, and who was late, and when."""

    def __init__(self) -> None:
        self.clock = TurningClock()
        self.late: list[tuple[float, str]] = []
        self.overdue = Overdue(self.clock, SECONDS, self._is_late)

    def _is_late(self, item: str) -> None:
        self.late.append((self.clock.seconds(), item))

    def run(self, seconds: float) -> None:
        """Let time pass in small turns."""
        for _ in range(int(seconds * 100)):
            self.clock.advance(0.01)


def test_who_does_nothing_is_late_once_after_the_time_and_an_eighth_at_most() -> None:
    world = World()
    world.overdue.touch("idle")
    world.run(30)
    ((when, who),) = world.late
    assert who == "idle"
    assert SECONDS <= when <= SECONDS * 9 / 8 + 0.5


def test_who_does_something_now_and_then_is_never_late() -> None:
    world = World()
    for _ in range(20):
        world.overdue.touch("busy")
        world.run(SECONDS * 0.9)
    assert world.late == []


def test_each_is_late_in_its_own_time() -> None:
    world = World()
    world.overdue.touch("early")
    world.run(4)
    world.overdue.touch("later")
    world.run(20)
    (first, one), (second, other) = world.late
    assert (one, other) == ("early", "later")
    assert 3 <= second - first <= 5


def test_who_is_done_is_not_late_and_leaves_no_timer() -> None:
    world = World()
    world.overdue.touch("one")
    world.overdue.discard("one")
    world.overdue.stop()
    assert world.clock.calls == []
    world.run(20)
    assert world.late == []


def test_a_timer_ends_by_itself_when_nobody_waits() -> None:
    world = World()
    world.overdue.touch("one")
    world.run(20)
    assert world.clock.calls == []


def test_a_stop_forgets_nobody_who_still_waits() -> None:
    world = World()
    world.overdue.touch("one")
    world.overdue.stop()
    world.run(20)
    assert len(world.late) == 1


def test_a_pause_of_this_process_makes_nobody_late() -> None:
    world = World()
    world.overdue.touch("reached meanwhile")
    world.run(7)
    world.clock.advance(1000)  # timers first, as after a SIGCONT; then what came is read
    world.overdue.discard("reached meanwhile")
    world.run(20)
    assert world.late == []


def test_what_has_come_by_then_is_read_first() -> None:
    world = World()
    world.overdue.touch("reached at last")
    world.clock.pump([1.0, 0.0] * 8)
    world.clock.advance(1.0)  # the timer is due; its turn reads what has come
    world.overdue.discard("reached at last")
    world.run(20)
    assert world.late == []


def test_a_process_that_is_always_late_gives_up_too() -> None:
    world = World()
    world.overdue.touch("idle")
    for _ in range(200):
        world.clock.advance(SECONDS)
        world.clock.advance(0)
    assert len(world.late) == 1


def test_one_end_may_end_another_or_begin_again() -> None:
    clock = TurningClock()
    late: list[str] = []

    def is_late(item: str) -> None:
        late.append(item)
        overdue.discard("other")
        if len(late) == 1:
            overdue.touch(item)

    overdue = Overdue(clock, SECONDS, is_late)
    overdue.touch("one")
    overdue.touch("other")
    clock.pump([1.0, 0.0] * 30)
    assert late == ["one", "one"]
