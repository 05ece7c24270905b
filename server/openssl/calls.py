"""What the server calls of OpenSSL beyond pyOpenSSL's own API, in pyOpenSSL's types."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from homing.server.openssl.functions import openssl

TICKET_CALLBACK = "int(SSL *, unsigned char *, unsigned char *, void *, void *, int)"

# SSL_CTX_ctrl commands, openssl/ssl.h
_GET_MIN_PROTO_VERSION, _GET_MAX_PROTO_VERSION = 130, 131

_NO_VERSION = {SSL.TLS1_2_VERSION: SSL.OP_NO_TLSv1_2, SSL.TLS1_3_VERSION: SSL.OP_NO_TLSv1_3}


def lowest_version(context: SSL.Context) -> int:
    """The lowest version of TLS that `context` speaks; 0 for the lowest there is."""
    return int(openssl().SSL_CTX_ctrl(context._context, _GET_MIN_PROTO_VERSION, 0, ffi.NULL))


def speaks(context: SSL.Context, version: int) -> bool:
    """Whether `context` may speak TLS 1.2 or 1.3: OpenSSL's configuration can forbid either."""
    highest = openssl().SSL_CTX_ctrl(context._context, _GET_MAX_PROTO_VERSION, 0, ffi.NULL)
    return (
        lowest_version(context) <= version
        and (not highest or version <= highest)
        and not lib.SSL_CTX_get_options(context._context) & _NO_VERSION[version]
    )


def forbids_tickets() -> bool:
    """Whether OpenSSL's configuration forbids servers to put sessions into tickets."""
    options = SSL.Context(SSL.TLS_SERVER_METHOD).set_options(0)
    return bool(options & SSL.OP_NO_TICKET)


_REFUSE = ffi.callback(TICKET_CALLBACK, lambda *whatever: 0, error=0)


def refuse_tickets(context: SSL.Context) -> None:
    """Have `context` make and accept no stateless ticket."""
    openssl().SSL_CTX_set_tlsext_ticket_key_evp_cb(context._context, _REFUSE)


def session_id(connection: SSL.Connection) -> bytes:
    """The ID of the connection's current session, empty where there is none."""
    session = lib.SSL_get_session(connection._ssl)
    return b"" if session == ffi.NULL else _id_of(session)


# Used again and again: these calls are made in one thread, the reactor's, and none within another
_ROOM = ffi.new("unsigned char[]", 4096)
_START, _LENGTH = ffi.new("unsigned char **"), ffi.new("unsigned int *")


def _id_of(session: Any) -> bytes:
    start = openssl().SSL_SESSION_get_id(session, _LENGTH)
    return bytes(ffi.buffer(start, _LENGTH[0]))


def exported_session(session: Any) -> tuple[bytes, bytes]:
    """The ID and the DER of a raw ``SSL_SESSION *``."""
    write = openssl().i2d_SSL_SESSION
    length = write(session, ffi.NULL)  # asked for each time: a client's certificate is in it
    if length <= 0:
        forget_errors()
        raise ValueError("OpenSSL cannot export a session")
    room = _ROOM if length <= len(_ROOM) else ffi.new("unsigned char[]", length)
    _START[0] = room  # OpenSSL moves it to the end
    write(session, _START)
    return _id_of(session), bytes(ffi.buffer(room, length))


def imported_session(exported: bytes) -> Any:
    """A new raw ``SSL_SESSION *``, which the caller must free; NULL if `exported` is no session."""
    _START[0] = ffi.from_buffer("unsigned char[]", exported)
    session = openssl().d2i_SSL_SESSION(ffi.NULL, _START, len(exported))
    if session == ffi.NULL:
        forget_errors()  # or else the handshake under way takes the error for its own
    return session


def is_session(exported: bytes) -> bool:
    """Whether these bytes are the DER of a session."""
    session = imported_session(exported)
    lib.SSL_SESSION_free(session)
    return bool(session != ffi.NULL)


def has_stateless_tickets(ssl: Any) -> bool:
    """Whether a raw ``SSL *`` puts its sessions into TLS 1.3 tickets, not into the cache.

    TLS 1.2 needs no such question: there OpenSSL reports no new session when it made a ticket.
    """
    return is_tls13(ssl) and not openssl().SSL_get_options(ssl) & SSL.OP_NO_TICKET


def session_ticket(connection: SSL.Connection) -> bytes:
    """The ticket that a client has for its current session, empty where there is none."""
    session = lib.SSL_get_session(connection._ssl)
    start, length = ffi.new("unsigned char **"), ffi.new("size_t *")
    if session != ffi.NULL:
        openssl().SSL_SESSION_get0_ticket(session, start, length)
    return bytes(ffi.buffer(start[0], length[0])) if length[0] else b""


_version_of, _TLS13 = lib.SSL_version, SSL.TLS1_3_VERSION


def is_tls13(ssl: Any) -> bool:
    """Whether a raw ``SSL *`` has negotiated TLS 1.3."""
    return bool(_version_of(ssl) == _TLS13)


def session_reused(connection: SSL.Connection) -> bool:
    """Whether the handshake of `connection` resumed a session."""
    return bool(lib.SSL_session_reused(connection._ssl))


def _not_resumable(ssl: Any, forward_secure: int) -> int:
    """OpenSSL's not_resumable_session_cb, before the ServerHello: 1, do not keep the session."""
    openssl().SSL_SESSION_set1_id(lib.SSL_get_session(ssl), ffi.NULL, 0)  # nor show its ID
    return 1


_NOT_RESUMABLE = ffi.callback("int(SSL *, int)", _not_resumable, error=1)


def give_no_session(ssl: Any) -> None:
    """Have the handshake of a raw ``SSL *`` give its client nothing to come back with.

    To be called when OpenSSL asks for a session's ID.  In TLS 1.2 the session then has no ID.  In
    TLS 1.3 the ticket under way becomes a stateless one, which the ticket callback makes or
    refuses: see `refuse_tickets`.
    """
    openssl().SSL_set_not_resumable_session_callback(ssl, _NOT_RESUMABLE)
    openssl().SSL_clear_options(ssl, SSL.OP_NO_TICKET)
    openssl().SSL_set_num_tickets(ssl, 0)


def forget_errors() -> None:
    """Empty OpenSSL's queue of errors: what stays in it, the next connection takes for its own."""
    lib.ERR_clear_error()


def give_another_session(connection: SSL.Connection) -> None:
    """Have the client of an open connection get another session, to come back with.

    In TLS 1.3 that is a fresh NewSessionTicket.  In TLS 1.2 it is asked to renegotiate, if it may.
    What is to be sent lies in `connection` afterwards.
    """
    try:
        if not is_tls13(connection._ssl):
            connection.renegotiate()
        elif not openssl().SSL_new_session_ticket(connection._ssl):
            forget_errors()
        connection.do_handshake()
    except SSL.Error:  # it cannot be now: the client keeps what it has
        forget_errors()
