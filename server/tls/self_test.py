"""Proof at start that identifiers come from the record, and lead back: handshakes in memory."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, repeat

from OpenSSL import SSL
from twisted.logger import Logger

from homing.server.identifiers.issuer import Watch
from homing.server.openssl.calls import session_id, session_reused, session_ticket, speaks
from homing.server.openssl.functions import openssl
from homing.server.tls.context import Sessions
from homing.shared.errors import UnsupportedOpenSSL
from homing.shared.identifiers import name_of_ticket

_VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}
_MOST_FLIGHTS = 10

_log = Logger()


def prove(sessions: Sessions) -> None:
    """Shake hands and come back in each TLS version that is allowed; leaves no session behind.

    Raises UnsupportedOpenSSL when what the client got to come back with is not of the record, or
    does not resume.  It may get nothing, if no identifier could be drawn.
    """
    allowed = [name for name, version in _VERSIONS.items() if speaks(sessions.context, version)]
    if not allowed:
        raise UnsupportedOpenSSL(
            "OpenSSL's configuration allows neither TLS 1.2 nor TLS 1.3: see MinProtocol, "
            "MaxProtocol and Protocol in openssl.cnf, or in the file that OPENSSL_CONF names"
        )
    for name in _VERSIONS.keys() - allowed:
        _log.warn("{name} is not offered: OpenSSL's configuration forbids it", name=name)
    for name in allowed:
        try:
            _prove(sessions, name)
        except SSL.Error as error:
            raise UnsupportedOpenSSL(
                f"a {name} handshake with ourselves failed: {error}"
            ) from error


def _prove(sessions: Sessions, name: str) -> None:
    """Raises SSL.Error, too."""
    context = _client_context(_VERSIONS[name])
    watch = Watch(on_trial=True)
    client, _ = _visit(sessions, context, watch)
    given_out = name_of_ticket(session_ticket(client)) or session_id(client)
    if not watch.issued and not given_out:
        return
    if given_out not in watch.issued or given_out not in sessions.issuer.record:
        raise _unsupported(f"{name} identifiers do not come from the record")
    again = Watch(on_trial=True, aside=watch.aside)
    _, resumed = _visit(sessions, context, again, client.get_session())
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
    sessions: Sessions, context: SSL.Context, watch: Watch, session: SSL.Session | None = None
) -> tuple[SSL.Connection, bool]:
    """A client after its handshake, and whether it resumed a session.  Raises SSL.Error."""
    client, server = SSL.Connection(context, None), SSL.Connection(sessions.context, None)
    client.set_connect_state()
    server.set_accept_state()
    if session is not None:
        client.set_session(session)
    sessions.issuer.watch(server, watch)
    try:
        _shake_hands(client, server)
        return client, session_reused(server._ssl)
    finally:
        sessions.issuer.unwatch(server)
        sessions.issuer.take_back(watch)


def _shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry the flights of a handshake back and forth, tickets too.  Raises SSL.Error."""
    for side in chain.from_iterable(repeat((client, server), _MOST_FLIGHTS)):
        with suppress(SSL.WantReadError):
            side.do_handshake()
            side.recv(1)  # reads what comes after the handshake: NewSessionTicket
        other = client if side is server else server
        with suppress(SSL.WantReadError):
            other.bio_write(side.bio_read(1 << 16))
