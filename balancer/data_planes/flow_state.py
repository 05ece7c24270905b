"""One direction of a relayed connection: bytes from its source to its sink, and both ends; pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class FlowState(Enum):
    """How far one direction has come."""

    FLOWING = "what the source says goes to the sink"
    ENDING = "the source has said everything; the sink has not been given it all"
    LOST = "the sink is gone: what the source still says is thrown away"
    ENDED = "the source has said everything, and nothing of it is left to give"

    __hash__ = object.__hash__  # Enum's is Python's, and takes as long as a transition


class FlowEvent(Enum):
    """What happens to one direction."""

    SOURCE_ENDED = "its source has closed its half"
    SOURCE_LOST = "its source was reset, or is unreachable; what came before has been read"
    GIVEN_ALL = "everything that was read has been given to the sink"
    SINK_LOST = "its sink was reset, or is unreachable"

    __hash__ = object.__hash__


def _row(
    after_source: FlowState, given_all: FlowState, sink_lost: FlowState
) -> dict[FlowEvent, FlowState]:
    return {
        FlowEvent.SOURCE_ENDED: after_source,
        FlowEvent.SOURCE_LOST: after_source,
        FlowEvent.GIVEN_ALL: given_all,
        FlowEvent.SINK_LOST: sink_lost,
    }


TRANSITIONS: Mapping[FlowState, Mapping[FlowEvent, FlowState]] = {
    FlowState.FLOWING: _row(FlowState.ENDING, FlowState.FLOWING, FlowState.LOST),
    FlowState.ENDING: _row(FlowState.ENDING, FlowState.ENDED, FlowState.ENDED),
    FlowState.LOST: _row(FlowState.ENDED, FlowState.LOST, FlowState.LOST),
    FlowState.ENDED: _row(FlowState.ENDED, FlowState.ENDED, FlowState.ENDED),
}
"""The state that follows; every event is answered in every state."""


class Pause(Enum):
    """Why a direction stands still for now."""

    DRY = "the source has said nothing more yet"
    FULL = "the sink takes nothing more yet"
    TURN_OVER = "other connections have their turn"
