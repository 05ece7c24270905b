"""How long servers have been gone."""

from __future__ import annotations

from homing.balancer.management.absences import Absences


def test_an_absence_is_counted_anew_after_a_return() -> None:
    absences = Absences()
    absences.look(["s1"], [], 0.0)
    absences.look(["s1"], ["s1"], 5.0)
    absences.look(["s1"], [], 6.0)
    assert not absences.over(10.0, 15.9)
    assert absences.over(10.0, 16.0) == {"s1"}


def test_a_return_between_two_looks_counts_too() -> None:
    absences = Absences()
    absences.look(["s1", "s2"], [], 0.0)
    absences.changed(["s1", "s3"])
    absences.look(["s1", "s2"], [], 6.0)
    assert absences.over(10.0, 10.0) == {"s2"}
    assert absences.over(10.0, 16.0) == {"s1", "s2"}
