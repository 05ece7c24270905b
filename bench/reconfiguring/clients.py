"""Clients that come back all the time, and what became of the sessions that they brought."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from enum import StrEnum
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from bench.reconfiguring.visit import BrokenOff, Reactor, Seen, visit
from bench.reconfiguring.watching import Watching
from tests.whole.clients import context

ROUNDING = 1.0
"""Seconds: OpenSSL keeps the time at which a session was made in whole ones."""
MARGIN = 0.2
"""The part of its life at whose end a session is not brought any more."""


class Outcome(StrEnum):
    """What became of a visit."""

    NEW = "new"
    """It brought no session: it had none, or an old one."""
    RESUMED = "resumed"
    PLANNED = "planned"
    """A full handshake in TLS 1.2 with a session ID, as `scheduled` says: its part was leaving."""
    LATE = "late"
    """A full handshake: a scheduled move had taken effect, and the client had not come before."""
    EXPIRED = "expired"
    """A full handshake, and the session had expired before the answer came: a busy machine."""
    LOST = "lost"
    """It could have resumed and did not."""


@attrs.frozen
class Kind:
    """A kind of clients."""

    name: str
    version: str
    tickets: bool = True
    stays: float = 0.0
    """Seconds that its connections stay open."""


KINDS = {
    "ids": (
        Kind("TLS 1.2, session IDs", "TLSv1.2", tickets=False),
        Kind("TLS 1.3, stateful tickets", "TLSv1.3"),
        Kind("TLS 1.3, stateful tickets, stays", "TLSv1.3", stays=4.0),
    ),
    "tickets": (
        Kind("TLS 1.2, tickets", "TLSv1.2"),
        Kind("TLS 1.3, tickets", "TLSv1.3"),
        Kind("TLS 1.3, tickets, stays", "TLSv1.3", stays=4.0),
    ),
    "both": (
        Kind("TLS 1.2, session IDs", "TLSv1.2", tickets=False),
        Kind("TLS 1.2, tickets", "TLSv1.2"),
        Kind("TLS 1.3, tickets", "TLSv1.3"),
        Kind("TLS 1.3, tickets, stays", "TLSv1.3", stays=4.0),
    ),
}
"""By session_ids.resumption."""


@attrs.frozen
class Visited:
    """A visit, and all that is known if it is of interest."""

    at: float
    """Seconds since the beginning."""
    kind: str
    server: str
    outcome: Outcome
    known: str = ""


@attrs.define
class _Kept:
    """A session that a client keeps."""

    session: ssl.SSLSession
    server: str
    made: float


class Clients:
    """`count` clients of all kinds, each of which comes back after `pauses` seconds, at random.

    They go to `addresses` in turn.  Sessions live for `lifetime` seconds.
    """

    def __init__(
        self,
        reactor: Reactor,
        addresses: Sequence[tuple[str, int]],
        ca: Path,
        watching: Watching,
        *,
        resumption: str,
        lifetime: float,
        count: int,
        pauses: tuple[float, float],
        luck: Random,
    ) -> None:
        self._reactor = reactor
        self._addresses = cycle(addresses)
        self._ca = ca
        self._watching = watching
        self._lifetime = lifetime
        self._pauses = pauses
        self._luck = luck
        kinds = cycle(KINDS[resumption])
        self._kinds = [next(kinds) for _ in range(count)]
        self._running: list[Deferred[None]] = []
        self.visits: list[Visited] = []
        self.broken_off = 0
        """Connections without an answer, after which the client tried again."""

    def start(self) -> None:
        """Have all of them come, the first time after a pause each."""
        for kind in self._kinds:
            living = Deferred.fromCoroutine(self._live(kind))
            self._running.append(living.addErrback(self._defective))

    async def stop(self) -> None:
        """Have nobody come any more."""
        for one in self._running:
            one.cancel()
        await gatherResults(self._running)

    async def _live(self, kind: Kind) -> None:
        """The life of one client."""
        tls, kept = context(self._ca, kind.version, kind.tickets), None
        try:
            while True:
                await deferLater(self._reactor, self._luck.uniform(*self._pauses))
                if kept is not None and self._now() - kept.made > (1 - MARGIN) * self._lifetime:
                    kept = None
                kept = await self._visit(kind, tls, kept)
        except CancelledError:
            pass

    def _defective(self, failure: Failure) -> None:
        print(failure.getTraceback())

    def _now(self) -> float:
        return self._reactor.seconds()

    async def _visit(self, kind: Kind, tls: ssl.SSLContext, kept: _Kept | None) -> _Kept | None:
        """Visit until there is an answer; returns the session to bring the next time."""
        while True:
            began = self._now()
            session = None if kept is None else kept.session
            address = next(self._addresses)
            try:
                seen = await visit(self._reactor, address, tls, session, kind.stays)
            except BrokenOff:
                self.broken_off += 1
                await deferLater(self._reactor, 0.2)
                continue
            except ssl.SSLError as error:
                self._note(began, kind, "", Outcome.LOST, f"the handshake failed: {error}")
                return None
            self._judge(began, kind, kept, seen)
            return _kept_after(seen.answer, await seen.session, kept, began)

    def _judge(self, began: float, kind: Kind, kept: _Kept | None, seen: Seen) -> None:
        server, known = seen.answer["server"], ""
        if kept is None:
            outcome = Outcome.NEW
        elif seen.answer["resumed"]:
            outcome = Outcome.RESUMED
        elif self._now() > kept.made + self._lifetime - ROUNDING:
            outcome = Outcome.EXPIRED
        else:
            outcome = self._why_not(kind, kept, seen)
            if outcome is Outcome.LOST:
                known = self._all_known(began, kept, seen)
        self._note(began, kind, server, outcome, known)

    def _why_not(self, kind: Kind, kept: _Kept, seen: Seen) -> Outcome:
        leaves = self._watching.leaves(seen.brought, kept.server)
        if leaves is None or not kept.made < leaves < kept.made + self._lifetime + ROUNDING:
            return Outcome.LOST
        if leaves < self._now():
            return Outcome.LATE
        is_planned = not kind.tickets and seen.answer["server"] == kept.server
        return Outcome.PLANNED if is_planned else Outcome.LOST

    def _all_known(self, began: float, kept: _Kept, seen: Seen) -> str:
        brought = ", ".join(f"{one.carrier} {one.brought.hex()}" for one in seen.brought)
        lines = [
            f"brought {brought}",
            f"a session of {kept.server}, {began - kept.made:.2f} s old; went to "
            f"{seen.answer['server']}, was answered {seen.answer}",
            *self._watching.known_of(seen.brought),
        ]
        return "\n      ".join(lines)

    def _note(self, began: float, kind: Kind, server: str, outcome: Outcome, known: str) -> None:
        at = self._watching.since(began)
        self.visits.append(Visited(at, kind.name, server, outcome, known))


def _kept_after(
    answer: dict[str, Any], session: ssl.SSLSession | None, kept: _Kept | None, began: float
) -> _Kept | None:
    """The session that a client keeps after a visit that began then, and had `kept` before."""
    resumed, is_13 = answer["resumed"], answer["protocol"] == "TLSv1.3"
    if session is None or not (session.has_ticket or (session.id and not is_13)):
        return kept if resumed else None
    if resumed and kept is not None:
        if session.id == kept.session.id:  # OpenSSL's hash of a ticket: there is no other
            return kept
        if not is_13:  # a renewed ticket lives no longer than the first
            return _Kept(session, answer["server"], kept.made)
    return _Kept(session, answer["server"], began)
