"""Draws the identifiers that a server gives out from its record 132, part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf

from twisted.logger import Logger

from homing.server.identifiers.given_out import GivenOut
from homing.server.identifiers.journal import Journal
from homing.server.identifiers.leaving import Leaving
from homing.server.identifiers.randomness import randbelow
from homing.server.identifiers.reuse_guard import ReuseGuard, has_few
from homing.shared.boottime import boottime
from homing.shared.errors import NoFreeIdentifier
from homing.shared.farm_state.values import Live
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.part import Part, Randbelow, Taken
from homing.shared.record import Record

ALL = -1
"""The number of the one part that a record is which nobody divides."""

_PAUSE = 1.0
"""Seconds after which drawing is tried again where it failed: a search may take long."""


def _untaken(name: bytes) -> bool:
    return False


class Issuer:
    """Draws from numbered parts, which can be replaced while connections run.

    A client may come back with a session ID for `session_lifetime` seconds.  If the parts have few
    IDs, `journal` notes those given out.  Sessions live by the clock `now`; drawing ends by `ends`,
    which must not stand still while the process, or the machine, does.
    """

    _log = Logger()

    def __init__(
        self,
        record: Record,
        *,
        session_lifetime: float,
        randbelow: Randbelow = randbelow,
        now: Callable[[], float] = time.monotonic,
        ends: Callable[[], float] = boottime,
        journal: Journal | None = None,
    ) -> None:
        self.now = now
        self._ends = ends
        self._randbelow = randbelow
        self._session_lifetime = session_lifetime
        self._journal = journal
        self._guard: ReuseGuard | None = None
        self._has_few = False
        self._given_out = GivenOut(session_lifetime)
        self._leaving = Leaving()
        self._fails = False
        self._not_before: dict[int, float] = {}
        """By the length of identifiers: when to try again after a failure."""
        self.record = record

    @property
    def record(self) -> Record:
        """What is drawn from: all parts together."""
        return self._record

    @record.setter
    def record(self, record: Record) -> None:
        self._use({ALL: record}, record, inf)

    def use(self, parts: Mapping[int, Part], until: float) -> None:
        """Draw from these parts alone, and only until a time by the clock `ends`."""
        if tuple(parts.items()) == self._parts:
            self.until = until
        else:
            self._use(parts, Record(tuple(parts.values())), until)

    def _use(self, parts: Mapping[int, Part], record: Record, until: float) -> None:
        self._parts = tuple(parts.items())
        self._record = record
        self.until = until
        self._has_few = has_few(record)
        if self._guard is not None:  # it also remembers what came from other parts
            self._guard.use(record, self.now())
        elif self._has_few and record.parts:
            self._guard = ReuseGuard(record, self._session_lifetime, self.now(), self._journal)

    @property
    def until(self) -> float:
        """When drawing ends, by the clock `ends`; it can be put off."""
        return self._until

    @until.setter
    def until(self, until: float) -> None:
        self._until = until
        self._not_before.clear()

    def session_id(self, taken: Taken) -> bytes:
        """A session ID that no client has.  Raises NoFreeIdentifier, whatever the cause."""
        return self._draw(LENGTH, taken)

    def key_name(self) -> bytes:
        """A ticket's key name; two tickets may have one name, as their keys still differ.

        Raises NoFreeIdentifier, whatever the cause.
        """
        return self._draw(KEY_NAME_LENGTH, _untaken)

    def take_back(self, issued: Iterable[bytes]) -> None:
        """Free the identifiers of a connection whose client did not get them."""
        for one in issued:
            self._given_out.take_back(one)
            if self._guard is not None and self._guard.take_back(one):
                self._not_before.pop(LENGTH, None)

    def note_unknown(self, part: int) -> None:
        """What was given out of a part before a restart may live, in the group."""
        self._given_out.note_unknown(part, self.now())

    def live(self, part: int) -> Live:
        """How many sessions of a part live, never too few, and for how long yet."""
        return self._given_out.live(part, self.now())

    def listing(self, part: int) -> tuple[bytes, ...] | None:
        """The identifiers of a part that live; None if they are too many, or not known."""
        return self._given_out.listing(part, self.now())

    @property
    def living(self) -> frozenset[int]:
        """The parts of which something lives."""
        return self._given_out.parts(self.now())

    @property
    def sessions(self) -> int:
        """How many sessions live."""
        return self._given_out.sessions(self.now())

    @property
    def nearly_used_up(self) -> bool:
        """Whether the parts have few session IDs, and nearly all of them are given out."""
        return (
            self._has_few
            and self._guard is not None
            and bool(self._parts)
            and self._guard.nearly_used_up(self.now())
        )

    def leave(self, parts: Mapping[int, tuple[Part, float]]) -> None:
        """Clients with identifiers of these parts get others: each leaves in so many seconds.

        It replaces what was said before.
        """
        self._leaving = Leaving.within(parts, self.now())

    @property
    def leaves(self) -> bool:
        """Whether any part leaves, and others can be given out."""
        leaving = bool(self._leaving.parts and self._parts)
        return leaving and not self._fails and self._may_draw()

    def leaves_at(self, identifier: bytes) -> float | None:
        """When the part of an identifier leaves, by the clock `now`; None: there is no need to
        give its client another, or there is none to give."""
        return self._leaving.time(identifier) if self.leaves else None

    def _may_draw(self) -> bool:
        return self._until == inf or self._ends() < self._until

    def _draw(self, length: int, taken: Taken) -> bytes:
        """Turn every error into NoFreeIdentifier, and pause after it."""
        if not self._parts:
            raise NoFreeIdentifier("nothing is assigned to this server")
        now = self.now()
        if self._not_before and now < self._not_before.get(length, -inf):
            raise NoFreeIdentifier("not tried again yet")
        try:
            identifier = self._drawn(length, taken, now)
        except Exception as error:  # a full disk, a user's function: no reason to turn anyone away
            self._failed(length, error)
            raise NoFreeIdentifier(str(error)) from error
        self._fails = False
        return identifier

    def _failed(self, length: int, error: Exception) -> None:
        self._not_before[length] = self.now() + _PAUSE
        if not self._fails:
            self._log.error(
                "no identifier can be drawn; clients get no session to resume: {error}",
                error=error,
            )
        self._fails = True

    def _drawn(self, length: int, taken: Taken, now: float) -> bytes:
        if not self._may_draw():
            raise _expired()
        if self._has_few and length == LENGTH and self._guard is not None:
            identifier = self._guard.draw(now, self._randbelow, taken)
        else:
            identifier = self._record.draw(self._randbelow, taken, length)
        if not self._may_draw():  # the process may have been stopped meanwhile
            raise _expired()
        self._given_out.note(self._number_of(identifier), identifier, now)
        return identifier

    def _number_of(self, identifier: bytes) -> int:
        if len(self._parts) == 1:
            return self._parts[0][0]
        return next(number for number, part in self._parts if identifier in part)


def _expired() -> NoFreeIdentifier:
    return NoFreeIdentifier("what this server was assigned has expired")
