"""Draws the identifiers that a server gives out from its record 132."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from twisted.logger import Logger

from homing.server.identifiers.journal import Journal
from homing.server.identifiers.reuse_guard import ReuseGuard, has_few
from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.part import Randbelow, Taken
from homing.shared.record import Record

_PAUSE = 1.0
"""Seconds after which drawing is tried again where it failed: a search may take long."""


class Issuer:
    """Draws from `record`, which can be replaced while connections run.

    A client may come back with a session ID for `session_lifetime` seconds.  If the record has few
    IDs, `journal` notes those given out.
    """

    _log = Logger()

    def __init__(
        self,
        record: Record,
        *,
        session_lifetime: float,
        randbelow: Randbelow = secrets.randbelow,
        now: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
    ) -> None:
        self.now = now
        self._randbelow = randbelow
        self._session_lifetime = session_lifetime
        self._journal = journal
        self._guard: ReuseGuard | None = None
        self._fails = False
        self._not_before: dict[int, float] = {}
        """By the length of identifiers: when to try again after a failure."""
        self.record = record

    @property
    def record(self) -> Record:
        """What is drawn from."""
        return self._record

    @record.setter
    def record(self, record: Record) -> None:
        self._record = record
        self._not_before.clear()
        if not has_few(record):
            self._guard = None
        elif self._guard is None:
            self._guard = ReuseGuard(record, self._session_lifetime, self.now(), self._journal)
        else:
            self._guard.use(record)

    def session_id(self, taken: Taken) -> bytes:
        """A session ID that no client has.  Raises NoFreeIdentifier, whatever the cause."""
        with self._drawing(LENGTH):
            if self._guard is None:
                return self._record.draw(self._randbelow, taken)
            return self._guard.draw(self.now(), self._randbelow, taken)

    def key_name(self) -> bytes:
        """A ticket's key name; two tickets may have one name, as their keys still differ.

        Raises NoFreeIdentifier, whatever the cause.
        """
        with self._drawing(KEY_NAME_LENGTH):
            return self._record.draw(self._randbelow, lambda name: False, KEY_NAME_LENGTH)

    def take_back(self, issued: Iterable[bytes]) -> None:
        """Free the identifiers of a connection whose client did not get them."""
        if self._guard is not None and [one for one in issued if self._guard.take_back(one)]:
            self._not_before.pop(LENGTH, None)

    @contextmanager
    def _drawing(self, length: int) -> Iterator[None]:
        """Turn every error into NoFreeIdentifier, and pause after it."""
        if self.now() < self._not_before.get(length, float("-inf")):
            raise NoFreeIdentifier("not tried again yet")
        try:
            yield
        except Exception as error:  # a full disk, a user's function: no reason to turn anyone away
            self._not_before[length] = self.now() + _PAUSE
            if not self._fails:
                self._log.error(
                    "no identifier can be drawn; clients get no session to resume: {error}",
                    error=error,
                )
            self._fails = True
            raise NoFreeIdentifier(str(error)) from error
        self._fails = False
