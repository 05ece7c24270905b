"""One direction of a relayed connection: no end is forgotten, and nothing flows after it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.data_planes.flow_state import TRANSITIONS, FlowEvent, FlowState

_ENDS = (FlowEvent.SOURCE_ENDED, FlowEvent.SOURCE_LOST)


def after(*events: FlowEvent) -> FlowState:
    state = FlowState.FLOWING
    for event in events:
        state = TRANSITIONS[state][event]
    return state


def test_every_event_is_answered_in_every_state() -> None:
    assert TRANSITIONS.keys() == set(FlowState)
    assert all(row.keys() == set(FlowEvent) for row in TRANSITIONS.values())


def test_the_sink_hears_of_the_end_only_when_it_has_been_given_all() -> None:
    for end in _ENDS:
        assert after(end) is FlowState.ENDING
        assert after(end, FlowEvent.GIVEN_ALL) is FlowState.ENDED


def test_what_a_source_says_to_a_lost_sink_is_read_to_its_end() -> None:
    assert after(FlowEvent.SINK_LOST) is FlowState.LOST
    for end in _ENDS:
        assert after(FlowEvent.SINK_LOST, end) is FlowState.ENDED


EVENTS = st.lists(st.sampled_from(FlowEvent))


@given(EVENTS, EVENTS)
def test_whatever_happens_an_end_is_final(before: list[FlowEvent], later: list[FlowEvent]) -> None:
    if after(*before) is FlowState.ENDED:
        assert after(*before, *later) is FlowState.ENDED


@given(EVENTS, st.sampled_from(_ENDS))
def test_whatever_happens_a_source_that_ends_leaves_no_flow_open(
    before: list[FlowEvent], end: FlowEvent
) -> None:
    for last in (FlowEvent.GIVEN_ALL, FlowEvent.SINK_LOST):
        assert after(*before, end, last) is FlowState.ENDED


@given(EVENTS)
def test_a_sink_that_is_lost_is_never_written_to_again(events: list[FlowEvent]) -> None:
    if FlowEvent.SINK_LOST in events:
        assert after(*events) in (FlowState.LOST, FlowState.ENDED)
