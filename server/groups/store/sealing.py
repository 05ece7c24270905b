"""Encrypts the values of a session store: only the servers of a group can read or make them."""

from __future__ import annotations

import hmac
import secrets
import struct
import time
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from twisted.logger import Logger

from homing.server.groups.store.base import LONGEST_LIFETIME, SessionStore
from homing.shared.errors import HomingError
from homing.shared.rarely import Rarely

KEY_LENGTH = 32
"""Bytes of the key of a group."""

_FORMAT = b"\x01"
_NONCE_LENGTH = 12
_TAG_LENGTH = 16
_EXPIRY = struct.Struct(">d")


class Sealed:
    """A SessionStore that keeps encrypted values under hashed names in `store`.

    A stored name is the HMAC-SHA256 of the name.  A stored value is a format byte, a nonce, and the
    AES-256-GCM ciphertext of the time at which it expires and the value; `group` and the stored
    name are associated data.  All keys are derived from `key`, which the servers of `group` share.
    `now` is the time in seconds, by a clock on which these servers agree.

    Raises HomingError when the key does not have `KEY_LENGTH` bytes.
    """

    _log = Logger()

    def __init__(
        self,
        store: SessionStore,
        key: bytes,
        group: str,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        if len(key) != KEY_LENGTH:
            raise HomingError(
                f"the key of group {group!r} must have {KEY_LENGTH} bytes, not {len(key)}"
            )
        self._store = store
        self._group = group
        self._now = now
        self._name_key = _derived(key, b"homing session store: names")
        self._value_key = _derived(key, b"homing session store: values")
        self._refused = Rarely(self._log_refused)

    def __repr__(self) -> str:
        return f"<session store of group {self._group!r}>"

    async def get(self, name: bytes) -> bytes | None:
        stored_name = self._stored_name(name)
        sealed = await self._store.get(stored_name)
        return None if sealed is None else self._opened(stored_name, sealed)

    async def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        if not lifetime > 0:
            return
        lifetime = min(lifetime, LONGEST_LIFETIME)
        stored_name = self._stored_name(name)
        sealed = self._sealed(stored_name, value, self._now() + lifetime)
        await self._store.put(stored_name, sealed, lifetime)

    async def close(self) -> None:
        await self._store.close()

    def _stored_name(self, name: bytes) -> bytes:
        return hmac.digest(self._name_key, name, "sha256")

    def _sealed(self, stored_name: bytes, value: bytes, expires: float) -> bytes:
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        plain = _EXPIRY.pack(expires) + value
        cipher = self._cipher(stored_name)
        return _FORMAT + nonce + cipher.encrypt(nonce, plain, self._associated(stored_name))

    def _opened(self, stored_name: bytes, sealed: bytes) -> bytes | None:
        nonce = sealed[len(_FORMAT) :][:_NONCE_LENGTH]
        hidden = sealed[len(_FORMAT) + _NONCE_LENGTH :]
        if not sealed.startswith(_FORMAT) or len(hidden) < _EXPIRY.size + _TAG_LENGTH:
            self._refused.happened()
            return None
        try:
            plain = self._cipher(stored_name).decrypt(nonce, hidden, self._associated(stored_name))
        except InvalidTag:
            self._refused.happened()
            return None
        (expires,) = _EXPIRY.unpack_from(plain)
        # Clocks differ a little: a value that has just expired is no reason to log
        return plain[_EXPIRY.size :] if self._now() < expires else None

    def _cipher(self, stored_name: bytes) -> AESGCM:
        """A key for each name: under a single key, random nonces would repeat after some 2^32."""
        return AESGCM(hmac.digest(self._value_key, stored_name, "sha256"))

    def _associated(self, stored_name: bytes) -> bytes:
        return stored_name + self._group.encode()  # unambiguous: the name has a fixed length

    def _log_refused(self, count: int) -> None:
        self._log.warn(
            "the session store of group {group!r} gave {count} values that this group did not "
            "seal under this key and name, or that were changed since: they are ignored",
            group=self._group,
            count=count,
        )


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_LENGTH, salt=None, info=purpose).derive(key)
