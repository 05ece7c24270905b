"""The ways of moving: every event is answered at every step, and each way ends."""

from __future__ import annotations

import pytest

from homing.shared.moves import TRANSITIONS, Transitions, Way
from homing.shared.moves import PartEvent as Event
from homing.shared.moves import PartStep as Step

ways = pytest.mark.parametrize("way", Way)


PATHS = {
    Way.DRAIN: [Step.HELD, Step.LEAVING, Step.STOPPED, Step.RELEASED, Step.HELD],
    Way.EXCEPTIONS: [Step.HELD, Step.LEAVING, Step.LISTED, Step.HELD],
    Way.SCHEDULED: [Step.HELD, Step.LEAVING, Step.STOPPED, Step.RELEASED, Step.HELD],
}
"""The steps of a move that nothing disturbs."""


def moves_on(way: Way, step: Step) -> dict[Event, Step]:
    """What leads away from a step."""
    return {event: then for event, then in TRANSITIONS[way][step].items() if then is not step}


@ways
def test_every_event_is_answered_at_every_step(way: Way) -> None:
    assert TRANSITIONS[way].keys() == set(Step)
    for answers in TRANSITIONS[way].values():
        assert answers.keys() == set(Event)


@ways
def test_a_move_that_nothing_disturbs_takes_its_steps(way: Way) -> None:
    for step, then in zip(PATHS[way], PATHS[way][1:], strict=False):
        assert then in moves_on(way, step).values(), (step, then)


@ways
def test_from_every_step_a_move_can_end(way: Way) -> None:
    for step in Step:
        seen = {step}
        for _ in Step:
            seen |= {then for each in seen for then in moves_on(way, each).values()}
        assert Step.HELD in seen, step


@ways
@pytest.mark.parametrize("step", [Step.LEAVING, Step.STOPPED, Step.LISTED])
def test_a_move_can_be_called_off_and_a_lost_owner_never_blocks_it(way: Way, step: Step) -> None:
    assert TRANSITIONS[way][step][Event.CALLED_OFF] is Step.HELD
    assert TRANSITIONS[way][step][Event.GONE] is Step.RELEASED


@ways
def test_an_event_that_is_repeated_changes_nothing_more(way: Way) -> None:
    for step in Step:
        for event, then in TRANSITIONS[way][step].items():
            assert TRANSITIONS[way][then][event] is then, (step, event)


@ways
def test_nothing_is_given_on_while_its_owner_may_draw_or_its_sessions_live_unlisted(
    way: Way,
) -> None:
    giving = {step for step in Step if Event.GIVEN in moves_on(way, step)}
    listed = {Step.LISTED} if way is Way.EXCEPTIONS else set()
    assert giving == {Step.RELEASED} | listed


@ways
def test_only_the_end_of_all_sessions_or_of_the_owner_releases_a_part(way: Way) -> None:
    releasing = {
        (step, event)
        for step in Step
        for event, then in moves_on(way, step).items()
        if then is Step.RELEASED
    }
    gone = {(step, Event.GONE) for step in (Step.LEAVING, Step.STOPPED, Step.LISTED)}
    assert releasing == gone | {(Step.STOPPED, Event.OVER)}


@ways
def test_a_move_begins_only_when_the_manager_asks(way: Way) -> None:
    assert moves_on(way, Step.HELD) == {Event.ASKED: Step.LEAVING}


def test_too_many_exceptions_drain_instead() -> None:
    listing = TRANSITIONS[Way.EXCEPTIONS]
    assert listing[Step.LEAVING][Event.TOO_MANY] is Step.STOPPED
    assert listing[Step.STOPPED] == TRANSITIONS[Way.DRAIN][Step.STOPPED]


def test_only_the_way_of_exceptions_lists_any() -> None:
    def lists(transitions: Transitions) -> bool:
        return any(
            then is Step.LISTED and step is not Step.LISTED
            for step, answers in transitions.items()
            for then in answers.values()
        )

    assert {way for way in Way if lists(TRANSITIONS[way])} == {Way.EXCEPTIONS}
