"""Parts by function: it says whose an identifier is, and makes new ones (patent, p. 10).

Nothing is listed: a server's drawing and the balancer's look-up both follow from the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

import attrs

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdSet
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.part import Randbelow, Taken, random_bytes


class OwnerFunction(Protocol):
    """Says who owns which identifier.

    Only the first 16 bytes of an identifier count, so that session IDs and the key names of tickets
    are routed alike.
    """

    @property
    def tries(self) -> int:
        """How often `make` is called for one identifier, at most."""

    def owner(self, identifier: bytes) -> str | None:
        """Who may have given `identifier` out; None if nobody of ours did."""

    def make(self, owner: str, randbelow: Randbelow) -> bytes | None:
        """The first 16 bytes of an identifier of `owner`; None when this try found none.

        Raises NoFreeIdentifier when another try is no use.
        """

    def count(self, length: int) -> int:
        """How many identifiers of `length` bytes one owner has."""

    def fingerprints(self, owner: str) -> Sequence[bytes]:
        """What tells functions apart as far as `owner` is concerned; no key can be found from it.

        The first is of what `owner` draws with; others are of what it may have drawn with before.
        """


@attrs.frozen
class ByFunction:
    """What `function` says is `owner`'s, except `excluded`, the sets of other servers."""

    scheme: str
    function: OwnerFunction = attrs.field(repr=False)  # it may hold secrets
    owner: str
    excluded: tuple[IdSet, ...] = ()

    def __contains__(self, identifier: bytes) -> bool:
        return not self._is_excluded(identifier) and self.function.owner(identifier) == self.owner

    def _is_excluded(self, identifier: bytes) -> bool:
        return any(identifier in id_set for id_set in self.excluded)

    def count(self, length: int = LENGTH) -> int:
        return self.function.count(length)

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        for _ in range(self.function.tries):
            start = self.function.make(self.owner, randbelow)
            if start is None:
                continue
            identifier = start + random_bytes(randbelow, length - KEY_NAME_LENGTH)
            if not taken(identifier) and not self._is_excluded(identifier):
                return identifier
        raise NoFreeIdentifier(
            f"the scheme {self.scheme} has no free identifier for {self.owner}, "
            f"as far as {self.function.tries} tries can tell"
        )

    def describe(self) -> str:
        return f"by the scheme {self.scheme}"


def fingerprint(*facts: bytes) -> bytes:
    """A digest of `facts`, 16 bytes; of a key, only a MAC or a block under it may be among them."""
    lengths = b"".join(len(fact).to_bytes(4, "big") for fact in facts)
    return sha256(b"homing function\0" + lengths + b"".join(facts)).digest()[:KEY_NAME_LENGTH]
