"""What a server gives out: identifiers drawn from its live record 132, and a note of each."""

from __future__ import annotations

import secrets
from typing import Any

import attrs
from OpenSSL import SSL
from OpenSSL._util import ffi

from shared.id_sets import Randbelow, Taken
from shared.identifiers import LENGTH
from shared.record import Record


@attrs.define
class Watch:
    """What happened on one connection."""

    issued: list[bytes] = attrs.field(factory=list)
    """The identifiers that its client was given, in order."""
    accepted: bytes | None = None
    """The key name of the ticket that its client brought and that is ours."""


class Issuer:
    """Draws from `record`, which can be replaced while connections run."""

    def __init__(self, record: Record, randbelow: Randbelow = secrets.randbelow) -> None:
        self.record = record
        self._randbelow = randbelow
        self._watches: dict[int, Watch] = {}

    def draw(self, taken: Taken = lambda identifier: False, length: int = LENGTH) -> bytes:
        """A fresh identifier of `length` bytes.  Raises NoFreeIdentifier."""
        return self.record.draw(self._randbelow, taken, length)

    def watch(self, connection: SSL.Connection) -> Watch:
        """A note of what happens on `connection`, until `unwatch`."""
        return self._watches.setdefault(_address(connection._ssl), Watch())

    def unwatch(self, connection: SSL.Connection) -> None:
        """Forget the note of `connection`; to be called before the connection is freed."""
        self._watches.pop(_address(connection._ssl), None)

    def noted(self, ssl: Any) -> Watch:
        """The note for a raw ``SSL *``; one that nobody reads where it is not watched."""
        return self._watches.get(_address(ssl)) or Watch()


def _address(ssl: Any) -> int:
    return int(ffi.cast("uintptr_t", ssl))
