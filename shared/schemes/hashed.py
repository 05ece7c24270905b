"""``hash``: the owner is a hash of the identifier over the servers (patent, p. 10).

Rendezvous hashing: every server scores an identifier, the highest score owns it.  A server that
comes takes its part of all the others evenly, one that goes leaves its part to all; nothing else
moves.  Every identifier has an owner, also the random session ID of a first visit.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import Randbelow, Taken
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.schemes.base import random_bytes

_TRIES_A_SERVER = 100


class HashScheme:
    """Rendezvous hashing over `servers`, at least one."""

    name = "hash"

    def __init__(self, servers: Iterable[str]) -> None:
        self._scores = tuple(
            (server, blake2b(server.encode(), digest_size=8, person=b"homing hash"))
            for server in servers
        )

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

    def draw(self, server: str, randbelow: Randbelow, taken: Taken, length: int) -> bytes:
        """One try in as many as there are servers succeeds."""
        tries = _TRIES_A_SERVER * len(self._scores)
        for _ in range(tries):
            identifier = random_bytes(randbelow, length)
            if self.owner(identifier) == server and not taken(identifier):
                return identifier
        raise NoFreeIdentifier(f"{tries} random identifiers, none of which {server} owns")
