"""The states of a hand-off link: every event is answered, and none leads back."""

from __future__ import annotations

import pytest

from homing.balancer.data_planes.link_state import TRANSITIONS, LinkEvent, LinkState

ORDER = list(LinkState)


@pytest.mark.parametrize("state", LinkState)
@pytest.mark.parametrize("event", LinkEvent)
def test_every_event_in_every_state_leads_on_or_ends_the_link(
    state: LinkState, event: LinkEvent
) -> None:
    after = TRANSITIONS[state][event]
    assert ORDER.index(after) > ORDER.index(state) or after is state is LinkState.OVER


def test_a_server_that_is_late_gets_nothing_more_but_is_heard_to_the_end() -> None:
    state = LinkState.GREETING
    for event, after in (
        (LinkEvent.GREETED, LinkState.OPEN),
        (LinkEvent.LATE, LinkState.ENDING),
        (LinkEvent.READ, LinkState.OVER),
    ):
        state = TRANSITIONS[state][event]
        assert state is after
