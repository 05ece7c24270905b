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


def test_a_server_that_is_late_gets_nothing_more_but_is_heard_to_the_end() -> None:
    state = State.GREETING
    for event, after in (
        (Event.GREETED, State.OPEN),
        (Event.ACCEPTED, State.OPEN),
        (Event.LATE, State.ENDING),
        (Event.ACCEPTED, State.ENDING),
        (Event.READ, State.OVER),
    ):
        state = TRANSITIONS[state][event]
        assert state is after
