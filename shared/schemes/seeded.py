"""``seeded``: identifiers are a nonce and its MAC under the seed of a server (patent, p. 10).

"Load balancer 104 may be configured with the random seeds and functions used by each of servers
102": it holds all seeds and finds the one whose MAC fits.  A server holds its own seed only, and
nobody without a seed can make an identifier that routes.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from homing.shared.by_function import fingerprint
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.part import Part, Randbelow, random_bytes
from homing.shared.schemes.base import Request, Scheme

_NONCE_LENGTH = 8
_MAC_LENGTH = KEY_NAME_LENGTH - _NONCE_LENGTH


class SeededMACs:
    """MACs under `seeds`, by owner."""

    tries = 64

    def __init__(self, seeds: Mapping[str, bytes]) -> None:
        self._macs = {
            owner: blake2b(key=seed, digest_size=_MAC_LENGTH, person=b"homing seeded")
            for owner, seed in seeds.items()
        }

    def owner(self, identifier: bytes) -> str | None:
        key = padded(identifier)
        nonce, mac = key[:_NONCE_LENGTH], key[_NONCE_LENGTH:KEY_NAME_LENGTH]
        for owner in self._macs:
            if hmac.compare_digest(self._mac(owner, nonce), mac):
                return owner
        return None

    def make(self, owner: str, randbelow: Randbelow) -> bytes:
        nonce = random_bytes(randbelow, _NONCE_LENGTH)
        return nonce + self._mac(owner, nonce)

    def count(self, length: int) -> int:
        return 1 << 8 * (length - _MAC_LENGTH)

    def fingerprints(self, owner: str) -> Sequence[bytes]:
        return (fingerprint(self._mac(owner, b"homing seeded fingerprint")),)

    def _mac(self, owner: str, nonce: bytes) -> bytes:
        mac = self._macs[owner].copy()
        mac.update(nonce)
        return mac.digest()


def _assign(request: Request) -> dict[str, Part]:
    """A server reads the seeds of its own group only."""
    known = [one for one in request.owners if request.known is None or one in request.known]
    seeds = {owner: request.secrets.seed(owner) for owner in known}
    return request.by_function("seeded", SeededMACs(seeds))


SEEDED = Scheme(name="seeded", assign=_assign)
