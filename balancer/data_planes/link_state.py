"""The states of a hand-off link, as the balancer sees it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from homing.shared.handoff import ACCEPTED, ENDED, REFUSED


class LinkState(Enum):
    """What a link to a server is good for."""

    GREETING = "the server has not greeted yet"
    OPEN = "the server gets connections"
    ENDING = "it gets no more, and what it has already said is read"
    OVER = "nothing is sent, and nothing that comes counts"


class LinkEvent(Enum):
    """What happens to a link to a server."""

    GREETED = "the server takes connections"
    ACCEPTED = "it has taken the connection that was handed over first"
    REFUSED = "it has no descriptor left for that one"
    ENDED = "one of its connections is over"
    NONSENSE = "it says what it must not say, or not now"
    STRANGER = "it is another user's process"
    LATE = "it has not greeted, or not answered, in time"
    READ = "all that it had said is read"
    LOST = "the link has ended"


WORDS: Mapping[bytes, LinkEvent] = {
    ACCEPTED: LinkEvent.ACCEPTED,
    REFUSED: LinkEvent.REFUSED,
    ENDED: LinkEvent.ENDED,
}
"""What the server says once it has greeted."""

_ANSWERS = tuple(WORDS.values())
_OVER = dict.fromkeys(LinkEvent, LinkState.OVER)

TRANSITIONS: Mapping[LinkState, Mapping[LinkEvent, LinkState]] = {
    LinkState.GREETING: _OVER | {LinkEvent.GREETED: LinkState.OPEN},
    LinkState.OPEN: _OVER
    | dict.fromkeys(_ANSWERS, LinkState.OPEN)
    | {LinkEvent.LATE: LinkState.ENDING},
    LinkState.ENDING: _OVER | dict.fromkeys(_ANSWERS, LinkState.ENDING),
    LinkState.OVER: _OVER,
}
"""The state that follows; every event is answered in every state."""
