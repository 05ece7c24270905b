"""What clients bring back, noted from their hellos as OpenSSL has read them."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.logger import Logger

from homing.server.openssl.connection_state import state_of
from homing.server.openssl.functions import openssl
from homing.shared.candidates import candidates
from homing.shared.client_hello import ClientHello, psk_identities

_log = Logger()

# openssl/ssl.h, and the extensions' numbers by RFC 5077 and RFC 8446
_SUCCESS = 1
_SESSION_TICKET, _PRE_SHARED_KEY = 35, 41


def note_hellos(context: SSL.Context) -> None:
    """Have every handshake of `context` note what its client brought (`ConnectionState.hello`).

    The log of connections says by it why a session is new.
    """
    openssl().SSL_CTX_set_client_hello_cb(context._context, _NOTE, ffi.NULL)


def _note(ssl: Any, alert: Any, argument: Any) -> int:
    """OpenSSL's client_hello_cb: the handshake goes on, whatever the hello says."""
    try:
        identities = _extension(ssl, _PRE_SHARED_KEY)
        hello = ClientHello(
            SSL.TLS1_2_VERSION,
            _session_id(ssl),
            psk_identities(identities) if identities else (),
            _extension(ssl, _SESSION_TICKET),
        )
        state_of(ssl).hello = candidates(hello)
    except Exception as error:  # nothing may cross the callback
        _log.debug("a hello cannot be noted: {error}", error=error)
    return _SUCCESS


_NOTE = ffi.callback("int(SSL *, int *, void *)", _note, error=_SUCCESS)


def _session_id(ssl: Any) -> bytes:
    start = ffi.new("unsigned char **")
    length = openssl().SSL_client_hello_get0_session_id(ssl, start)
    return bytes(ffi.buffer(start[0], length)) if length else b""


def _extension(ssl: Any, kind: int) -> bytes | None:
    """The contents of an extension of the hello under way; None where it has none."""
    start, length = ffi.new("unsigned char **"), ffi.new("size_t *")
    if not openssl().SSL_client_hello_get0_ext(ssl, kind, start, length):
        return None
    return bytes(ffi.buffer(start[0], length[0])) if length[0] else b""
