"""``keyed``: server number, check and nonce in one AES block, after QUIC-LB.

Draft-ietf-quic-load-balancers-21, 5.4.1, for session IDs.  To somebody who only watches,
identifiers look random and cannot be linked to a server; somebody who uses one again is sent to the
same server.  The balancer needs one AES operation a key to find the owner of any number of servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from homing.shared.by_function import fingerprint
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.part import Part, Randbelow, random_bytes
from homing.shared.schemes.base import BlockCipher, Request, Scheme

NUMBER_LENGTH = 2
CHECK_LENGTH = 4
NONCE_LENGTH = KEY_NAME_LENGTH - NUMBER_LENGTH - CHECK_LENGTH
"""10 random bytes: a repeated nonce is too rare to need a counter (docs/schemes/keyed.md)."""


_KNOWN_BLOCK = sha256(b"homing keyed fingerprint").digest()[:KEY_NAME_LENGTH]


def tag(owner: str) -> bytes:
    """An owner's number and check, 6 bytes made of its name, so that they survive renumbering.

    A random block fits one of n owners with probability n * 2^-48.
    """
    return sha256(b"homing keyed\0" + owner.encode()).digest()[: NUMBER_LENGTH + CHECK_LENGTH]


class KeyedBlocks:
    """Identifiers under the farm's keys.

    Servers draw with the first of `ciphers`; the balancer decrypts with each of them, so that the
    key can be changed.
    """

    tries = 64

    def __init__(self, owners: Iterable[str], ciphers: Sequence[BlockCipher]) -> None:
        self._owners = {tag(owner): owner for owner in owners}
        self._ciphers = tuple(ciphers)

    def owner(self, identifier: bytes) -> str | None:
        block = padded(identifier)[:KEY_NAME_LENGTH]
        for cipher in self._ciphers:
            owner = self._owners.get(cipher.decrypt(block)[: NUMBER_LENGTH + CHECK_LENGTH])
            if owner is not None:
                return owner
        return None

    def make(self, owner: str, randbelow: Randbelow) -> bytes:
        return self._ciphers[0].encrypt(tag(owner) + random_bytes(randbelow, NONCE_LENGTH))

    def count(self, length: int) -> int:
        return 1 << 8 * (length - NUMBER_LENGTH - CHECK_LENGTH)

    def fingerprints(self, owner: str) -> Sequence[bytes]:
        """One a key; each owner's number is made of its own name, so that other names are free."""
        return [fingerprint(cipher.encrypt(_KNOWN_BLOCK)) for cipher in self._ciphers]


def _assign(request: Request) -> dict[str, Part]:
    ciphers = request.secrets.farm_ciphers()
    return request.by_function("keyed", KeyedBlocks(request.owners, ciphers))


KEYED = Scheme(name="keyed", assign=_assign, key_rotates=True)
