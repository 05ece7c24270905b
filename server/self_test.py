"""Proof at start that OpenSSL draws its session IDs from the record: handshakes in memory."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, repeat

from OpenSSL import SSL

from server.openssl import forget_session, openssl, session_id
from server.session_ids import SessionIds
from shared.errors import UnsupportedOpenSSL

_VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}
_MOST_FLIGHTS = 10


def prove(context: SSL.Context, session_ids: SessionIds) -> None:
    """Shake hands with `context` once in each TLS version; leaves nothing in its session cache.

    Raises UnsupportedOpenSSL when a session ID does not come from the record.
    """
    for name, version in _VERSIONS.items():
        server = SSL.Connection(context, None)
        server.set_accept_state()
        issued = session_ids.watch(server)
        try:
            _shake_hands(_client(version), server)
            given_out = session_id(server)
        except SSL.Error as error:
            raise UnsupportedOpenSSL(
                f"a {name} handshake with ourselves failed: {error}"
            ) from error
        finally:
            session_ids.unwatch(server)
            forget_session(context, server)
        if given_out not in issued or given_out not in session_ids.record:
            raise UnsupportedOpenSSL(
                f"{name} session IDs do not come from the record: OpenSSL "
                f"{openssl().OpenSSL_version_num():#x} ({openssl().linkage}) ignores the callback"
            )


def _client(version: int) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    return client


def _shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry the flights of a handshake back and forth.  Raises SSL.Error when it fails."""
    turns = chain.from_iterable(repeat((client, server), _MOST_FLIGHTS))
    unfinished = {client, server}
    for side in turns:
        if not unfinished:
            break
        if side in unfinished:
            with suppress(SSL.WantReadError):
                side.do_handshake()
                unfinished.discard(side)
        other = client if side is server else server
        with suppress(SSL.WantReadError):
            other.bio_write(side.bio_read(1 << 16))
