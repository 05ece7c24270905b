"""A group: servers that share sessions through a store (patent, p. 7).

Before OpenSSL sees a hello, the session or the ticket secret it needs is fetched; OpenSSL itself
then finds it at home.  The reactor never waits, and a dead store costs full handshakes only.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from itertools import islice
from random import random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from server.issuer import Watch
from server.openssl import is_session
from server.store import SessionStore
from server.ticket_secrets import SECRET_LENGTH, TicketSecrets
from shared.identifiers import KEY_NAME_LENGTH, Candidate, Carrier
from shared.record import Record

_SESSION = b"session\0"
_SECRETS = b"ticket secrets"
_REFRESH = 5.0
_NOT_AGAIN_FOR = 0.5
_PATIENCE = 0.2
"""Seconds after which a hello does not wait for another operation of the store."""
_MOST_WANTED = 4
_SECRET = struct.Struct(f"!d{SECRET_LENGTH}s")


class Group:
    """What a server has in common with the others of its group.

    `records` are those of all of them: nothing else is looked up in the store.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: SessionStore,
        records: Iterable[Record],
        session_lifetime: float,
    ) -> None:
        self._clock = clock
        self._store = store
        self.records = tuple(records)
        self._lifetime = session_lifetime
        self._secrets: TicketSecrets | None = None
        self._refreshed = -_REFRESH
        self._exchanging = False
        self._refreshing = LoopingCall(self._refresh)
        self._refreshing.clock = clock

    def use(self, secrets: TicketSecrets) -> None:
        """Have the secrets of tickets in common, too."""
        self._secrets = secrets
        secrets.made = self._share_now

    def start(self) -> None:
        """Begin to exchange ticket secrets."""
        if self._secrets is not None:
            self._refreshing.start(_REFRESH)

    async def stop(self) -> None:
        """Let go of the store."""
        if self._refreshing.running:
            self._refreshing.stop()
        await self._store.close()

    def wanted(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The first few of a hello's identifiers that the group may have given out."""
        ours = (one for one in candidates if any(one.identifier in each for each in self.records))
        return list(islice(ours, _MOST_WANTED))

    def share(self, identifier: bytes, session: bytes) -> Deferred[None]:
        """Give the others a session; fires when they have it, or won't."""
        storing = self._store.put(_SESSION + identifier, session, self._lifetime)
        return Deferred.fromCoroutine(storing)

    async def fetch(self, watch: Watch, wanted: Iterable[Candidate]) -> None:
        """Put onto `watch` what OpenSSL needs to resume the first of `wanted` that can be."""
        begun = self._clock.seconds()
        for one in wanted:
            if self._clock.seconds() - begun > _PATIENCE:
                return
            if one.carrier is not Carrier.SESSION_ID and len(one.brought) > len(one.identifier):
                await self._fetch_secret(one)
                continue
            session = await self._store.get(_SESSION + one.identifier)
            if session is None:
                continue
            if is_session(session):
                watch.aside[one.identifier] = session
                return
            self._log.warn("what the store holds is no session: a full handshake")

    async def _fetch_secret(self, ticket: Candidate) -> None:
        """Ask for new secrets, but not for each of many tickets that nobody made."""
        if self._secrets is None or self._clock.seconds() - self._refreshed < _NOT_AGAIN_FOR:
            return
        start = ticket.brought[KEY_NAME_LENGTH:]
        if self._secrets.find(time.time(), ticket.identifier, start) is None:
            await self._exchange(self._secrets)

    def _share_now(self) -> None:
        """A new secret: no ticket of it should be out before the others know it."""
        if self._refreshing.running and not self._exchanging:
            self._refresh()

    def _refresh(self) -> Deferred[None]:
        assert self._secrets is not None
        return Deferred.fromCoroutine(self._exchange(self._secrets))

    async def _exchange(self, secrets: TicketSecrets) -> None:
        """Take over the secrets of the others, and give them ours."""
        self._refreshed, self._exchanging = self._clock.seconds(), True
        try:
            await self._exchange_once(secrets)
        finally:
            self._exchanging = False

    async def _exchange_once(self, secrets: TicketSecrets) -> None:
        stored = await self._store.get(_SECRETS) or b""
        if len(stored) % _SECRET.size:
            self._log.warn("what the store holds are no ticket secrets")
            stored = b""
        known = set(_SECRET.iter_unpack(stored))
        secrets.merge(time.time(), known)
        secrets.current(time.time())  # made here, if it is time, and not with the first ticket
        ours = set(secrets.exported())
        if ours - known:
            packed = b"".join(_SECRET.pack(*each) for each in sorted(ours))
            await self._store.put(_SECRETS, packed, secrets.accepted_for)
            # Another server may have put its own at the same moment: look whether ours are there
            self._clock.callLater(_NOT_AGAIN_FOR * random(), self._share_now)  # noqa: S311
