"""``hash``: the owner is a hash of the identifier over the servers (patent, p. 10).

Rendezvous hashing: each server has a score for an identifier, and the highest score owns it.  A
server that is added takes evenly from all others, one that is removed leaves evenly to all; nothing
else moves.  Every identifier has an owner, even the random session ID of a first visit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from homing.shared.by_function import fingerprint
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.part import Part, Randbelow, random_bytes
from homing.shared.schemes.base import Request, Scheme

_TRIES_AN_OWNER = 100


class Rendezvous:
    """Rendezvous hashing over `owners`, at least one."""

    def __init__(self, owners: Iterable[str]) -> None:
        self._hashes = tuple(
            (owner, blake2b(owner.encode(), digest_size=8, person=b"homing hash"))
            for owner in owners
        )
        self.tries = _TRIES_AN_OWNER * len(self._hashes)

    def owner(self, identifier: bytes) -> str | None:
        key = padded(identifier)[:KEY_NAME_LENGTH]
        best, owner = b"", None
        for candidate, start in self._hashes:
            score = start.copy()
            score.update(key)
            digest = score.digest()
            if owner is None or digest > best:
                best, owner = digest, candidate
        return owner

    def make(self, owner: str, randbelow: Randbelow) -> bytes | None:
        """With n owners, one try in n succeeds."""
        start = random_bytes(randbelow, KEY_NAME_LENGTH)
        return start if self.owner(start) == owner else None

    def count(self, length: int) -> int:
        return (1 << 8 * length) // len(self._hashes)

    def fingerprints(self, owner: str) -> Sequence[bytes]:
        return (fingerprint(*sorted(name.encode() for name, _ in self._hashes)),)


def _assign(request: Request) -> dict[str, Part]:
    return request.by_function("hash", Rendezvous(request.owners))


HASH = Scheme(name="hash", assign=_assign)
