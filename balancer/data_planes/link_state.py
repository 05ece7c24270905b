"""The states of a hand-off link, as the balancer sees it; pure.

What a server answers changes no state, so it is no event here: only nonsense is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class LinkState(Enum):
    """What a link to a server is good for."""

    GREETING = "the server has not greeted yet"
    OPEN = "the server gets connections"
    ENDING = "it gets no more, and what it has already said is read"
    OVER = "nothing is sent, and nothing that comes counts"


class LinkEvent(Enum):
    """What happens to a link to a server, but for answers that make sense."""

    GREETED = "the server takes connections"
    NONSENSE = "it says what it must not say, or not now"
    STRANGER = "it is another user's process"
    LATE = "it has not greeted, or not answered, in time"
    READ = "all that it had said is read"
    LOST = "the link has ended"


_OVER = dict.fromkeys(LinkEvent, LinkState.OVER)

TRANSITIONS: Mapping[LinkState, Mapping[LinkEvent, LinkState]] = {
    LinkState.GREETING: _OVER | {LinkEvent.GREETED: LinkState.OPEN},
    LinkState.OPEN: _OVER | {LinkEvent.LATE: LinkState.ENDING},
    LinkState.ENDING: _OVER,
    LinkState.OVER: _OVER,
}
"""The state that follows; every event is answered in every state."""
