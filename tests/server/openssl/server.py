"""A server's context for the tests of its callbacks, and clients that meet it in memory."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from homing.server.openssl.calls import session_reused
from homing.server.openssl.connection_state import ConnectionState
from homing.server.tls.context import server_context
from homing.shared.part import Randbelow
from homing.shared.record import Record
from tests.tls import RECORD, InMemory, issuer, options

TLS12, TLS13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
BOTH = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["TLS 1.2", "TLS 1.3"])


class Luck:
    """A source of randomness that fails while it has an `error`."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.error = error

    def __call__(self, below: int) -> int:
        if self.error is not None:
            raise self.error
        return secrets.randbelow(below)


class Server:
    """A server's context, and the time it has."""

    def __init__(
        self, record: Record = RECORD, randbelow: Randbelow = secrets.randbelow, **changes: Any
    ) -> None:
        self.time = 0.0
        self.issuer = issuer(record, randbelow=randbelow, now=lambda: self.time)
        self.sessions = server_context(options(**changes), self.issuer)

    def pair(
        self, version: int, session: SSL.Session | None = None, takes_tickets: bool = True
    ) -> InMemory:
        """A client and this server, before their handshake."""
        pair = InMemory(self.sessions.ssl_context, version)
        if not takes_tickets:
            pair.client = SSL.Connection(_client_without_tickets(version), None)
            pair.client.set_connect_state()
        if session is not None:  # set_session takes none that was changed, or is used up
            assert lib.SSL_set_session(pair.client._ssl, vars(session)["_session"])
        return pair

    def meet(
        self, version: int, session: SSL.Session | None = None, takes_tickets: bool = True
    ) -> tuple[InMemory, ConnectionState]:
        """A finished handshake over which data flows, and what the server notes of it."""
        pair = self.pair(version, session, takes_tickets).shake_hands()
        assert pair.says(b"hello") == b"hello"
        return pair, pair.state

    def first(self, version: int) -> SSL.Session:
        """What a new client can come back with."""
        return self.meet(version)[0].resumable()

    def resumes(self, version: int, session: SSL.Session) -> bool:
        """Whether a client that comes back is known; it is served in any case."""
        return session_reused(self.meet(version, session)[0].server)


@cache
def _client_without_tickets(version: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_options(SSL.OP_NO_TICKET)
    return context
