"""``seeded``: identifiers are a nonce and its MAC under the seed of a server (patent, p. 10).

"Load balancer 104 may be configured with the random seeds and functions used by each of servers
102": it holds all seeds and finds whose MAC fits.  A server holds its own only, and nobody without
a seed can make an identifier that routes.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import blake2b

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import Randbelow, Taken
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.schemes.base import random_bytes

SEED_LENGTH = 32
_NONCE_LENGTH = 8
_MAC_LENGTH = KEY_NAME_LENGTH - _NONCE_LENGTH
_TRIES = 64


class SeededScheme:
    """MACs under `seeds`, 32 bytes each, by server."""

    name = "seeded"

    def __init__(self, seeds: Mapping[str, bytes]) -> None:
        self._macs = {
            server: blake2b(key=seed, digest_size=_MAC_LENGTH, person=b"homing seeded")
            for server, seed in seeds.items()
        }

    def owner(self, identifier: bytes) -> str | None:
        key = padded(identifier)
        nonce, mac = key[:_NONCE_LENGTH], key[_NONCE_LENGTH:KEY_NAME_LENGTH]
        for server in self._macs:
            if hmac.compare_digest(self._mac(server, nonce), mac):
                return server
        return None

    def draw(self, server: str, randbelow: Randbelow, taken: Taken, length: int) -> bytes:
        for _ in range(_TRIES):
            nonce = random_bytes(randbelow, _NONCE_LENGTH)
            rest = random_bytes(randbelow, length - KEY_NAME_LENGTH)
            identifier = nonce + self._mac(server, nonce) + rest
            if not taken(identifier):
                return identifier
        raise NoFreeIdentifier(f"{_TRIES} identifiers made for {server}, and all are taken")

    def _mac(self, server: str, nonce: bytes) -> bytes:
        mac = self._macs[server].copy()
        mac.update(nonce)
        return mac.digest()
