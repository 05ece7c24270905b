"""``hash``: the owner is a hash of the identifier over the servers (patent, p. 10).

Rendezvous hashing: every server scores an identifier, the highest score owns it.  A server that
comes takes its part of all the others evenly, one that goes leaves its part to all; nothing else
moves.  Every identifier has an owner, also the random session ID of a first visit.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.part import Part, Randbelow, random_bytes
from homing.shared.schemes.base import Request, Scheme

_TRIES_A_SERVER = 100


class Rendezvous:
    """Rendezvous hashing over `owners`, at least one."""

    def __init__(self, owners: Iterable[str]) -> None:
        self._scores = tuple(
            (owner, blake2b(owner.encode(), digest_size=8, person=b"homing hash"))
            for owner in owners
        )
        self.tries = _TRIES_A_SERVER * len(self._scores)

    def owner(self, identifier: bytes) -> str | None:
        key = padded(identifier)[:KEY_NAME_LENGTH]
        best, owner = b"", None
        for server, start in self._scores:
            score = start.copy()
            score.update(key)
            digest = score.digest()
            if owner is None or digest > best:
                best, owner = digest, server
        return owner

    def make(self, owner: str, randbelow: Randbelow) -> bytes | None:
        """One try in as many as there are owners succeeds."""
        start = random_bytes(randbelow, KEY_NAME_LENGTH)
        return start if self.owner(start) == owner else None

    def count(self, length: int) -> int:
        return (1 << 8 * length) // len(self._scores)


def _assign(request: Request) -> dict[str, Part]:
    return request.by_function("hash", Rendezvous(request.owners))


HASH = Scheme(name="hash", assign=_assign)
