"""Proof at start that identifiers come from the record: handshakes in memory."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, repeat

from OpenSSL import SSL

from server.context import Sessions
from server.openssl import forget_sessions, openssl, session_id, session_ticket
from shared.errors import UnsupportedOpenSSL
from shared.identifiers import name_of_ticket

_VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}
_MOST_FLIGHTS = 10


def prove(sessions: Sessions) -> None:
    """Shake hands once in each TLS version; leaves nothing in the session cache.

    Raises UnsupportedOpenSSL when what the client got to come back with is not of the record.  It
    may get nothing, if no identifier could be drawn.
    """
    for name, version in _VERSIONS.items():
        client = _client(version)
        server = SSL.Connection(sessions.context, None)
        server.set_accept_state()
        watch = sessions.issuer.watch(server)
        try:
            _shake_hands(client, server)
            given_out = name_of_ticket(session_ticket(client)) or session_id(client)
        except SSL.Error as error:
            raise UnsupportedOpenSSL(
                f"a {name} handshake with ourselves failed: {error}"
            ) from error
        finally:
            sessions.issuer.unwatch(server)
            sessions.issuer.take_back(watch)
            forget_sessions(sessions.context)
        if not watch.issued and not given_out:
            continue
        if given_out not in watch.issued or given_out not in sessions.issuer.record:
            raise UnsupportedOpenSSL(
                f"{name} identifiers do not come from the record: OpenSSL "
                f"{openssl().OpenSSL_version_num():#x} ({openssl().linkage}) ignores the callbacks"
            )


def _client(version: int) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    return client


def _shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry the flights of a handshake back and forth, tickets too.  Raises SSL.Error."""
    for side in chain.from_iterable(repeat((client, server), _MOST_FLIGHTS)):
        with suppress(SSL.WantReadError):
            side.do_handshake()
            side.recv(1)  # reads what comes after the handshake: NewSessionTicket
        other = client if side is server else server
        with suppress(SSL.WantReadError):
            other.bio_write(side.bio_read(1 << 16))
