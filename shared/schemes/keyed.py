"""``keyed``: server number, check and nonce in one AES block, after QUIC-LB.

Draft-ietf-quic-load-balancers-21, 5.4.1, for session IDs: to who only watches, identifiers look
random and cannot be linked to a server, though who uses one again is sent to the same one; and the
balancer needs one AES operation a key to find the owner, however many servers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Protocol

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import Randbelow, Taken
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.schemes.base import random_bytes

NUMBER_LENGTH = 2
CHECK_LENGTH = 4
NONCE_LENGTH = KEY_NAME_LENGTH - NUMBER_LENGTH - CHECK_LENGTH
_TRIES = 64


class BlockCipher(Protocol):
    """AES-128 under one key, a block of 16 bytes at a time."""

    def encrypt(self, block: bytes) -> bytes:
        """A block encrypted."""

    def decrypt(self, block: bytes) -> bytes:
        """A block decrypted."""


def tag(server: str) -> bytes:
    """A server's number and check, 6 bytes made of its name, so that they survive renumbering.

    A random block fits one of n servers with probability n * 2^-48.
    """
    return sha256(b"homing keyed\0" + server.encode()).digest()[: NUMBER_LENGTH + CHECK_LENGTH]


class KeyedScheme:
    """Identifiers under the farm's keys.

    Servers draw with the first of `ciphers`; the balancer knows the identifiers of all of them, so
    that keys can be changed.  `nonce` gives 10 bytes that never come twice under one key.
    """

    name = "keyed"

    def __init__(
        self,
        servers: Iterable[str],
        ciphers: Sequence[BlockCipher],
        nonce: Callable[[], bytes] | None = None,
    ) -> None:
        self._servers = {tag(server): server for server in servers}
        self._ciphers = tuple(ciphers)
        self._nonce = nonce

    def owner(self, identifier: bytes) -> str | None:
        block = padded(identifier)[:KEY_NAME_LENGTH]
        for cipher in self._ciphers:
            server = self._servers.get(cipher.decrypt(block)[: NUMBER_LENGTH + CHECK_LENGTH])
            if server is not None:
                return server
        return None

    def draw(self, server: str, randbelow: Randbelow, taken: Taken, length: int) -> bytes:
        assert self._nonce is not None, "a balancer draws nothing"
        for _ in range(_TRIES):
            block = self._ciphers[0].encrypt(tag(server) + self._nonce())
            identifier = block + random_bytes(randbelow, length - KEY_NAME_LENGTH)
            if not taken(identifier):
                return identifier
        raise NoFreeIdentifier(f"{_TRIES} identifiers made for {server}, and all are taken")
