"""What a session store is: the interface of its users, and that of its backends."""

from __future__ import annotations

from typing import Protocol

from homing.shared.errors import HomingError

LONGEST_LIFETIME = 366 * 86_400.0
"""Seconds that a value is kept at most."""

LARGEST_VALUE = 65_536
"""Bytes of a value; a session has some hundreds, or some thousands with a client certificate."""


class SessionStore(Protocol):
    """Values under names, each for some time, shared by the servers of a group.

    No call raises or blocks, and each ends within the store's deadline: a store that is dead, slow
    or full costs full handshakes, nothing else.
    """

    async def get(self, name: bytes) -> bytes | None:
        """The value of `name`; None when there is none, or the store failed."""

    async def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        """Keep `value` under `name` for `lifetime` seconds, in place of what was there.

        A store may drop values; it drops those of more than `LARGEST_VALUE` bytes.
        """

    async def close(self) -> None:
        """Finish what was begun, then close; from now on every get is a miss."""


class StoreFailure(HomingError):
    """The store cannot be used; the text holds nothing secret."""


class StoreBusy(StoreFailure):
    """The store works, but could not do this one operation in time."""


class Backend(Protocol):
    """A store that blocks; it is called from `threads` threads at once.

    Methods raise StoreFailure and, on purpose, nothing else; `close` raises nothing.
    """

    threads: int

    @property
    def label(self) -> str:
        """Its address, without a password."""

    def get(self, name: bytes) -> bytes | None:
        """As that of `SessionStore`."""

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        """As that of `SessionStore`; `lifetime` is above 0 and at most `LONGEST_LIFETIME`."""

    def probe(self) -> None:
        """Return normally if both get and put would work."""

    def close(self) -> None:
        """Free everything.  No other call is under way, and none follows."""
