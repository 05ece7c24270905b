"""Handshakes in memory that prove, at the start, that identifiers are of the record and resume."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, repeat

from OpenSSL import SSL
from twisted.logger import Logger

from homing.server.openssl.calls import session_id, session_reused, session_ticket, speaks
from homing.server.openssl.connection_state import ConnectionState, ServerConnection
from homing.server.openssl.functions import openssl
from homing.server.tls.context import ServerContext
from homing.shared.errors import UnsupportedOpenSSL
from homing.shared.identifiers import name_of_ticket

_VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}
_MOST_FLIGHTS = 10

_log = Logger()


def run_self_test(context: ServerContext) -> None:
    """Shake hands and resume in each TLS version that is allowed; leaves no session behind.

    Raises UnsupportedOpenSSL when the client's identifier is not of the record, or does not resume.
    It may get none, if none could be drawn.
    """
    allowed = [name for name, version in _VERSIONS.items() if speaks(context.ssl_context, version)]
    if not allowed:
        raise UnsupportedOpenSSL(
            "OpenSSL's configuration allows neither TLS 1.2 nor TLS 1.3: see MinProtocol, "
            "MaxProtocol and Protocol in openssl.cnf, or in the file that OPENSSL_CONF names"
        )
    for name in _VERSIONS.keys() - allowed:
        _log.warn("{name} is not offered: OpenSSL's configuration forbids it", name=name)
    for name in allowed:
        try:
            _test_version(context, name)
        except SSL.Error as error:
            raise UnsupportedOpenSSL(
                f"a {name} handshake with ourselves failed: {error}"
            ) from error


def _test_version(context: ServerContext, name: str) -> None:
    """Raises SSL.Error, too."""
    client_context = _client_context(_VERSIONS[name])
    state = ConnectionState(is_self_test=True)
    client, _ = _visit(context, client_context, state)
    given_out = name_of_ticket(session_ticket(client)) or session_id(client)
    if not state.issued and not given_out:
        return
    if given_out not in state.issued or given_out not in context.issuer.record:
        raise _unsupported(f"{name} identifiers do not come from the record")
    again = ConnectionState(is_self_test=True, own_sessions=state.own_sessions)
    _, resumed = _visit(context, client_context, again, client.get_session())
    if not resumed:
        raise _unsupported(f"{name} sessions are not found again")


def _unsupported(what: str) -> UnsupportedOpenSSL:
    version, linkage = openssl().OpenSSL_version_num(), openssl().linkage
    return UnsupportedOpenSSL(f"{what}: OpenSSL {version:#x} ({linkage}) ignores the callbacks")


def _client_context(version: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    return context


def _visit(
    context: ServerContext,
    client_context: SSL.Context,
    state: ConnectionState,
    session: SSL.Session | None = None,
) -> tuple[SSL.Connection, bool]:
    """A client after its handshake, and whether that resumed a session.  Raises SSL.Error."""
    client = SSL.Connection(client_context, None)
    server = ServerConnection(context.ssl_context, state)
    client.set_connect_state()
    server.set_accept_state()
    if session is not None:
        client.set_session(session)
    try:
        _shake_hands(client, server)
        return client, session_reused(server)
    finally:
        context.issuer.take_back(state.issued)


def _shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry the flights of a handshake back and forth, tickets too.  Raises SSL.Error."""
    for side in chain.from_iterable(repeat((client, server), _MOST_FLIGHTS)):
        with suppress(SSL.WantReadError):
            side.do_handshake()
            side.recv(1)  # reads what comes after the handshake: NewSessionTicket
        other = client if side is server else server
        with suppress(SSL.WantReadError):
            other.bio_write(side.bio_read(1 << 16))
