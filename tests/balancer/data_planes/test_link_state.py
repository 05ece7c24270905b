"""The states of a hand-off link: every event is answered, and none leads back."""

from __future__ import annotations

import pytest

from homing.balancer.data_planes.link_state import TRANSITIONS, WORDS, Event, State

ORDER = list(State)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_in_every_state_leads_on_or_ends_the_link(state: State, event: Event) -> None:
    after = TRANSITIONS[state][event]
    assert ORDER.index(after) >= ORDER.index(state)
    if after is state is not State.OVER:
        assert event in WORDS.values()


@pytest.mark.parametrize(
    ("events", "after"),
    [
        ([Event.GREETED, Event.ACCEPTED, Event.ENDED, Event.REFUSED], State.OPEN),
        ([Event.GREETED, Event.LATE, Event.ACCEPTED, Event.ENDED], State.ENDING),
        ([Event.GREETED, Event.LATE, Event.READ], State.OVER),
        ([Event.GREETED, Event.LATE, Event.LATE], State.OVER),
        ([Event.GREETED, Event.GREETED], State.OVER),
        ([Event.GREETED, Event.NONSENSE], State.OVER),
        ([Event.LATE], State.OVER),
        ([Event.ACCEPTED], State.OVER),
        ([Event.STRANGER, Event.GREETED, Event.ACCEPTED], State.OVER),
    ],
)
def test_a_server_must_greet_then_answer_in_time(events: list[Event], after: State) -> None:
    state = State.GREETING
    for event in events:
        state = TRANSITIONS[state][event]
    assert state is after
