"""Hands a ticket's keys to the contexts that OpenSSL passes to its ticket callback."""

from __future__ import annotations

from typing import Any

from cffi import FFI
from OpenSSL._util import ffi

from homing.server.identifiers.ticket_secrets import AES_KEY_LENGTH, MAC_KEY_LENGTH
from homing.server.openssl.functions import openssl
from homing.shared.errors import UnsupportedOpenSSL

# openssl/core.h
_UTF8_STRING, _OCTET_STRING = 4, 5
_params = FFI()
_params.cdef(
    """typedef struct { const char *key; unsigned int data_type; void *data; size_t data_size;
    size_t return_size; } OSSL_PARAM;"""
)


class TicketCipher:
    """AES-256-CBC and HMAC-SHA-256, with the keys of one ticket at a time.

    Nothing is allocated for a ticket: OpenSSL copies the keys from here, and finds the cipher
    without a search by its name.  One thread may use it at a time: that of the reactor does.
    """

    def __init__(self) -> None:
        functions = openssl()
        self._set_cipher = functions.EVP_CipherInit_ex
        self._set_mac = functions.EVP_MAC_CTX_set_params
        # never freed: OpenSSL has one for the process
        self._aes = functions.EVP_CIPHER_fetch(ffi.NULL, b"AES-256-CBC", ffi.NULL)
        if self._aes == ffi.NULL:
            raise UnsupportedOpenSSL("OpenSSL has no AES-256-CBC, which tickets need")
        self._mac_key = _params.new("unsigned char[]", MAC_KEY_LENGTH)
        self._names = [_params.new("char[]", text) for text in (b"key", b"digest", b"SHA256")]
        key, digest, sha256 = self._names
        self._params = _params.new(
            "OSSL_PARAM[3]",  # the last one, all zeros, ends it
            [
                (key, _OCTET_STRING, self._mac_key, MAC_KEY_LENGTH, 0),
                (digest, _UTF8_STRING, sha256, len(sha256) - 1, 0),
            ],
        )
        self._address = ffi.cast("void *", int(_params.cast("uintptr_t", self._params)))

    def use(self, derived: bytes, cipher: Any, mac: Any, iv: Any, encrypt: bool) -> None:
        """Set up both contexts with what `TicketSecret.derived` gave.  Raises RuntimeError."""
        # the AES key is what comes first
        ffi.memmove(self._mac_key, derived[AES_KEY_LENGTH:], MAC_KEY_LENGTH)
        if not self._set_cipher(
            cipher, self._aes, ffi.NULL, derived, iv, encrypt
        ) or not self._set_mac(mac, self._address):
            raise RuntimeError("OpenSSL refuses AES-256-CBC or HMAC-SHA-256")
