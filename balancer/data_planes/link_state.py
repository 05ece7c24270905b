"""The states of a hand-off link, as the balancer sees it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from homing.shared.handoff import ACCEPTED, ENDED, REFUSED


class State(Enum):
    """What a link is good for."""

    GREETING = "the server has not greeted yet"
    OPEN = "the server gets connections"
    ENDING = "it gets none any more, and what it has already said is read"
    OVER = "nothing is sent, and nothing that comes counts"


class Event(Enum):
    """What happens to a link."""

    GREETED = "the server takes connections"
    ACCEPTED = "it has taken the connection that was handed over first"
    REFUSED = "it has no descriptor left for that one"
    ENDED = "one of its connections is over"
    NONSENSE = "it says what it must not say, or not now"
    STRANGER = "it is another user's process"
    LATE = "it has not greeted, or not answered, in time"
    READ = "all that it had said is read"
    LOST = "the link has ended"


WORDS: Mapping[bytes, Event] = {
    ACCEPTED: Event.ACCEPTED,
    REFUSED: Event.REFUSED,
    ENDED: Event.ENDED,
}
"""What the server says once it has greeted."""

_ANSWERS = tuple(WORDS.values())
_OVER = dict.fromkeys(Event, State.OVER)

TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.GREETING: _OVER | {Event.GREETED: State.OPEN},
    State.OPEN: _OVER | dict.fromkeys(_ANSWERS, State.OPEN) | {Event.LATE: State.ENDING},
    State.ENDING: _OVER | dict.fromkeys(_ANSWERS, State.ENDING),
    State.OVER: _OVER,
}
"""The state that follows; every event is answered in every state."""
