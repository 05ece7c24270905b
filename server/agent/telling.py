"""What a server tells the farm of itself.  Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    Assignment,
    Call,
    Live,
    Needs,
    ServerFacts,
    ServerPresence,
)
from homing.shared.farm_state.view import View

STEP = 5.0
"""Seconds to which the time is rounded that sessions live: people want to know no more."""


@attrs.frozen(kw_only=True)
class Identity:
    """Who a server is, as its process knows."""

    name: str
    incarnation: str
    home: str
    """Its machine and state folder: a lock there keeps its name from being taken twice."""
    facts: ServerFacts
    needs: Needs
    shares_sessions: bool = False
    """Whether what it gave out before a restart may live, in its group."""


class Drawn(Protocol):
    """What was drawn."""

    @property
    def nearly_used_up(self) -> bool: ...

    def live(self, part: int) -> Live: ...


def presence(
    view: View, me: Identity, drawn: Drawn, sessions: int, epoch: int, fingerprint: str = ""
) -> ServerPresence:
    """What it is and needs, and what lives in the parts that leave it."""
    call: Call | None = view.single(keys.CALL)
    own = {number: view.parts[number].value for number in sorted(view.owned.get(me.name, ()))}
    leaving = [number for number, part in own.items() if part.next is not None and part.drawn]
    return ServerPresence(
        me.facts,
        me.incarnation,
        epoch=epoch,
        needs=attrs.evolve(me.needs, more=drawn.nearly_used_up),
        sessions=sessions,
        live=tuple(_rounded(drawn.live(number)) for number in leaving),
        answers=0 if call is None else call.number,
        fingerprint=fingerprint,
    )


def _rounded(live: Live) -> Live:
    return attrs.evolve(live, seconds=float(-(-live.seconds // STEP) * STEP))


def assignment(me: Identity, unix: float, seconds: float) -> Assignment:
    """What keeps others from its name and its parts, so many seconds from now on.

    The time is for people, and changes once a minute.
    """
    until = datetime.fromtimestamp(unix + seconds, UTC).replace(second=0, microsecond=0)
    return Assignment(me.incarnation, me.home, until.isoformat().replace("+00:00", "Z"))
