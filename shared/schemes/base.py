"""What every scheme by function can do."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from homing.shared.id_sets import IdSet, Randbelow, Taken
from homing.shared.identifiers import LENGTH


class Scheme(Protocol):
    """One definition of who owns which identifier.

    Only the first 16 bytes of an identifier count, so that session IDs and the key names of
    tickets are routed alike.
    """

    @property
    def name(self) -> str:
        """What farm.toml calls it."""

    def owner(self, identifier: bytes) -> str | None:
        """The server that may have given `identifier` out, None if no server of ours did."""

    def draw(self, server: str, randbelow: Randbelow, taken: Taken, length: int) -> bytes:
        """A fresh identifier of `length` bytes that `server` owns.  Raises NoFreeIdentifier."""


@attrs.frozen
class Share:
    """What one server may give out under a scheme."""

    scheme: Scheme
    server: str
    excluded: tuple[IdSet, ...] = ()
    """Sets of servers that are under no scheme: these come first, so their members are theirs."""

    def __contains__(self, identifier: bytes) -> bool:
        return not self._is_excluded(identifier) and self.scheme.owner(identifier) == self.server

    def _is_excluded(self, identifier: bytes) -> bool:
        return any(identifier in id_set for id_set in self.excluded)

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        """A fresh identifier of `length` bytes.  Raises NoFreeIdentifier."""
        return self.scheme.draw(
            self.server,
            randbelow,
            lambda identifier: taken(identifier) or self._is_excluded(identifier),
            length,
        )

    def to_data(self) -> dict[str, Any]:
        """Plain data, without the secrets of the scheme."""
        return {"scheme": self.scheme.name, "server": self.server}


def random_bytes(randbelow: Randbelow, length: int) -> bytes:
    """So many random bytes."""
    return randbelow(1 << 8 * length).to_bytes(length, "big")
