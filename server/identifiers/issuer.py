"""What a server gives out: identifiers drawn from its live record 132, and a note of each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import attrs
from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from homing.server.identifiers.given_out import GivenOut
from homing.server.identifiers.journal import Journal
from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import Randbelow, Taken
from homing.shared.identifiers import KEY_NAME_LENGTH
from homing.shared.record import Record

_PAUSE = 1.0
"""Seconds after which drawing is tried again where it failed."""


@attrs.define
class Watch:
    """What happened on one connection."""

    issued: list[bytes] = attrs.field(factory=list)
    """The identifiers that its client was given, in order."""
    accepted: bytes | None = None
    """What its client brought and a session was found by: a session ID, or a ticket's key name."""
    missed: set[bytes] = attrs.field(factory=set)
    """What its client brought and nothing was found by: no session, and no secret of its ticket."""
    aside: dict[bytes, bytes] = attrs.field(factory=dict)
    """Sessions that this connection alone may resume, as DER, by their IDs."""
    sharing: list[Deferred[None]] = attrs.field(factory=list)
    """Its sessions and tickets' secrets on their way to the group: their names leave afterwards."""
    on_trial: bool = False
    """Whether it is one of the self-test, whose sessions are nobody's."""


class Issuer:
    """Draws from `record`, which can be replaced while connections run.

    `session_lifetime` is for how many seconds a client may come back with a session ID.
    """

    _log = Logger()

    def __init__(
        self,
        record: Record,
        randbelow: Randbelow = secrets.randbelow,
        session_lifetime: float = 7200.0,
        now: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
    ) -> None:
        self._record = record
        self._randbelow = randbelow
        self.now = now
        self._given_out = GivenOut(record, session_lifetime, now(), journal)
        self._watches: dict[int, Watch] = {}
        self._fails = False
        self._not_before = float("-inf")

    @property
    def record(self) -> Record:
        """What is drawn from."""
        return self._record

    @record.setter
    def record(self, record: Record) -> None:
        self._record = record
        self._given_out.use(record)
        self._not_before = float("-inf")

    def session_id(self, taken: Taken) -> bytes:
        """A session ID that no client may have.  Raises NoFreeIdentifier, whatever the cause."""
        return self._drawn(lambda: self._given_out.draw(self.now(), self._randbelow, taken))

    def key_name(self) -> bytes:
        """A ticket's name; if another has it too, they still have different keys.

        Raises NoFreeIdentifier, whatever the cause.
        """
        return self._drawn(
            lambda: self._record.draw(self._randbelow, lambda name: False, KEY_NAME_LENGTH)
        )

    def _drawn(self, draw: Callable[[], bytes]) -> bytes:
        if self.now() < self._not_before:
            raise NoFreeIdentifier("not tried again yet")
        try:
            identifier = draw()
        except Exception as error:  # a full disk, a user's function: no reason to turn anyone away
            self._failed(error)
            raise NoFreeIdentifier(str(error)) from error
        self._fails = False
        return identifier

    def _failed(self, error: Exception) -> None:
        if not self._fails:
            self._log.error(
                "no identifier can be drawn; clients get no session to resume: {error}", error=error
            )
        self._fails = True
        self._not_before = self.now() + _PAUSE  # to find that out may have taken long

    def take_back(self, watch: Watch) -> None:
        """What was issued on a connection did not reach its client."""
        for identifier in watch.issued:
            self._given_out.take_back(identifier)
            self._not_before = float("-inf")  # one is free again

    def watch(self, connection: SSL.Connection, watch: Watch | None = None) -> Watch:
        """A note of what happens on `connection`, until `unwatch`."""
        return self._watches.setdefault(_address(connection._ssl), watch or Watch())

    def unwatch(self, connection: SSL.Connection) -> None:
        """Forget the note of `connection`; to be called before the connection is freed."""
        self._watches.pop(_address(connection._ssl), None)

    def noted(self, ssl: Any) -> Watch:
        """The note for a raw ``SSL *``; one that nobody reads where it is not watched."""
        return self._watches.get(_address(ssl)) or Watch()


def _address(ssl: Any) -> int:
    return int(ffi.cast("uintptr_t", ssl))
