"""What a store of sessions is, to those who use one and to those who build one."""

from __future__ import annotations

from typing import Protocol

from homing.shared.errors import HomingError

LONGEST_LIFETIME = 366 * 86_400.0
"""Seconds after which a value goes, whatever lifetime it was given."""

LARGEST_VALUE = 65_536
"""Bytes of a value; OpenSSL's sessions have some hundreds, or some thousands with a certificate."""


class SessionStore(Protocol):
    """Values under names, for a time, shared by the servers of a group.

    Neither call raises or blocks, and each is over within the store's deadline: a store that is
    dead, slow or full costs a full handshake, nothing else.
    """

    async def get(self, name: bytes) -> bytes | None:
        """The value of `name`; None when there is none, or none to be had now."""

    async def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        """Keep `value` under `name` for `lifetime` seconds, in place of what was there.

        It may be dropped, and is when it has more than `LARGEST_VALUE` bytes.
        """

    async def close(self) -> None:
        """Finish what was begun, then let go; from now on every get is a miss."""


class StoreFailure(HomingError):
    """The store cannot be used; the text holds nothing secret."""


class StoreBusy(StoreFailure):
    """The store lives, but could not do this one thing in time."""


class Backend(Protocol):
    """A store that blocks; called from `threads` threads at once.

    All but `close` raise StoreFailure, and raise nothing else on purpose.
    """

    threads: int

    @property
    def label(self) -> str:
        """Its address, fit to be shown: without a password."""

    def get(self, name: bytes) -> bytes | None:
        """As of `SessionStore`."""

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        """As of `SessionStore`; `lifetime` is above 0 and at most `LONGEST_LIFETIME`."""

    def probe(self) -> None:
        """Return if both get and put would work."""

    def close(self) -> None:
        """Free everything; no other call runs, and none follows."""
