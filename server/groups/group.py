"""A group: servers that share sessions through a store (patent, p. 7).

Before OpenSSL reads a ClientHello, the session or the ticket secret that it needs is fetched; then
OpenSSL finds it here.  The reactor never waits, and a dead store costs full handshakes only.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from homing.server.groups.store import SessionStore
from homing.server.identifiers.ticket_secrets import SECRET_LENGTH, TicketSecrets
from homing.server.openssl.calls import is_session
from homing.server.openssl.connection_state import ConnectionState
from homing.shared.candidates import Candidate, Carrier
from homing.shared.part import Identifiers

_SESSION = b"session\0"
_SECRETS = b"ticket secrets\0"
_REFRESH = 5.0
"""Seconds between two exchanges of secrets."""
_PAUSE = 0.05
"""Seconds between two looks for new secrets, however many unknown tickets come."""
_PATIENCE = 0.2
"""Seconds after which a hello waits for no further operation of the store."""
_MOST_WANTED = 4
_SECRET = struct.Struct(f"!d{SECRET_LENGTH}s")
_MOST_STORED = 1500
"""Secrets that a member stores at most, the newest: a store accepts no larger value."""


class Group:
    """The sessions and ticket secrets that the server `name` shares with the other `members`.

    `records` are those of all members: no other identifier is looked up in the store.  Each member
    stores the ticket secrets that it knows under its own name, so that no two write one value.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: SessionStore,
        records: Iterable[Identifiers],
        *,
        session_lifetime: float,
        name: str,
        members: Iterable[str],
    ) -> None:
        self._clock = clock
        self._store = store
        self.records: tuple[Identifiers, ...] = tuple(records)
        self._lifetime = session_lifetime
        self._own = _SECRETS + name.encode()
        self._names = {self._own, *(_SECRETS + one.encode() for one in members)}
        self._secrets: TicketSecrets | None = None
        self._looked = clock.seconds() - _PAUSE
        self._next_look: IDelayedCall | None = None
        self._looking: list[Deferred[None]] = []
        """Fire when the next look for new secrets is over: hellos wait for it."""
        self._sharing: list[Deferred[None]] = []
        """Fire when our secrets are stored: tickets, and the start, wait for it."""
        self._storing = self._again = False
        self._refreshing = LoopingCall(self._exchange)
        self._refreshing.clock = clock

    def use(self, secrets: TicketSecrets) -> None:
        """Share ticket secrets, too."""
        self._secrets = secrets
        secrets.made = self._share_secrets

    def start(self) -> Deferred[None]:
        """Begin to exchange ticket secrets; fires when ours are stored, or the store failed."""
        if self._secrets is None:
            return succeed(None)
        exchanged: Deferred[None] = Deferred()
        self._sharing.append(exchanged)
        self._refreshing.start(_REFRESH)
        return exchanged

    async def stop(self) -> None:
        """Let all go on that wait, and close the store."""
        if self._refreshing.running:
            self._refreshing.stop()
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        _fire(self._looking)
        _fire(self._sharing)
        await self._store.close()

    def wanted(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The first few of a hello's identifiers that are of the group's records."""
        ours = (one for one in candidates if any(one.identifier in each for each in self.records))
        return list(islice(ours, _MOST_WANTED))

    def share(self, identifier: bytes, session: bytes) -> Deferred[None]:
        """Store a session for the others; fires when that is done, or failed."""
        storing = self._store.put(_SESSION + identifier, session, self._lifetime)
        return self._logged("sharing a session", storing)

    async def fetch(self, state: ConnectionState, wanted: Iterable[Candidate]) -> None:
        """Fetch what OpenSSL needs to resume the first of `wanted` that can be resumed."""
        begun = self._clock.seconds()
        looked = False
        for one in wanted:
            if self._clock.seconds() - begun > _PATIENCE:
                return
            if one.carrier is not Carrier.SESSION_ID and len(one.brought) > len(one.identifier):
                if not looked and self._is_unknown(one):
                    looked = True
                    await self._next_look_over()
                continue
            session = await self._store.get(_SESSION + one.identifier)
            if session is None:
                continue
            if is_session(session):
                state.own_sessions[one.identifier] = session
                return
            self._log.warn("what the store holds is no session: a full handshake")

    def secret_shared(self) -> Deferred[None] | None:
        """Fires when a new ticket's secret is stored, or that failed; None if it is stored."""
        if not self._storing:
            return None
        shared: Deferred[None] = Deferred()
        self._sharing.append(shared)
        return shared

    def _is_unknown(self, ticket: Candidate) -> bool:
        """Whether no secret that is known here made the ticket."""
        secrets = self._secrets
        return secrets is not None and secrets.find(time.time(), ticket.brought) is None

    def _next_look_over(self) -> Deferred[None]:
        """Fires after the next look for secrets: one under way may have begun too early.

        All hellos that come within `_PAUSE` share one look.
        """
        looked: Deferred[None] = Deferred()
        self._looking.append(looked)
        if self._next_look is None:
            wait = self._looked + _PAUSE - self._clock.seconds()  # long if the clock was put back
            self._next_look = self._clock.callLater(min(max(0.0, wait), _PAUSE), self._look_now)
        return looked

    def _look_now(self) -> None:
        assert self._secrets is not None
        self._next_look = None
        waiting, self._looking = self._looking, []
        looking = self._logged("looking for secrets", self._look(self._secrets))
        looking.addCallback(lambda _: _fire(waiting))

    async def _look(self, secrets: TicketSecrets) -> bytes:
        """Merge the secrets of the others; returns what is stored under our own name."""
        self._looked = self._clock.seconds()
        names = list(self._names)
        gets = [Deferred.fromCoroutine(self._store.get(name)) for name in names]
        values = dict(zip(names, await gatherResults(gets), strict=True))
        for value in filter(None, values.values()):
            if len(value) % _SECRET.size:
                self._log.warn("what the store holds are no ticket secrets")
            else:
                secrets.merge(time.time(), _SECRET.iter_unpack(value))
        return values[self._own] or b""

    def _exchange(self) -> Deferred[None]:
        assert self._secrets is not None
        exchanging = self._logged("sharing secrets", self._exchange_with(self._secrets))
        return exchanging.addCallback(lambda _: None if self._storing else _fire(self._sharing))

    async def _exchange_with(self, secrets: TicketSecrets) -> None:
        """Merge the secrets of the others, and store ours unless they are stored."""
        stored = await self._look(secrets)
        secrets.current(time.time())  # makes a new one in time, not with the first ticket
        if _packed(secrets) != stored:
            self._share_secrets()

    def _share_secrets(self) -> None:
        """Store the secrets that we know; one put after the other, so that the newest stays."""
        if self._secrets is None or not self._refreshing.running:
            return
        self._again = True
        if not self._storing:
            self._storing = True
            self._logged("sharing secrets", self._store_secrets(self._secrets))

    async def _store_secrets(self, secrets: TicketSecrets) -> None:
        try:
            while self._again:
                self._again = False
                await self._store.put(self._own, _packed(secrets), secrets.accepted_for)
        finally:
            self._storing = False
            _fire(self._sharing)

    def _logged(self, what: str, doing: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Fires with the result of `doing`; an error is logged, and the result is None."""
        return Deferred.fromCoroutine(doing).addErrback(
            lambda failure: self._log.failure(what, failure)
        )


def _packed(secrets: TicketSecrets) -> bytes:
    return b"".join(_SECRET.pack(*each) for each in secrets.exported()[:_MOST_STORED])


def _fire(waiting: list[Deferred[None]]) -> None:
    """Let all go on that wait."""
    fired, waiting[:] = list(waiting), []
    for one in fired:
        one.callback(None)
