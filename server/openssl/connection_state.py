"""What OpenSSL's callbacks need to know of one connection, and what they note."""

from __future__ import annotations

from errno import EAGAIN
from socket import socket
from typing import Any

import attrs
from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from twisted.internet.defer import Deferred

from homing.server.openssl.functions import openssl
from homing.shared.candidates import Candidate, Carrier


@attrs.define
class ConnectionState:
    """What happened on one connection."""

    issued: list[bytes] = attrs.field(factory=list)
    """The identifiers that its client was given, in order."""
    accepted: bytes | None = None
    """The session ID, or the ticket's key name, that its session was found by."""
    carrier: Carrier | None = None
    """What that came in."""
    brought: bytes = b""
    """The first 32 bytes of what its client sent there."""
    missed: set[bytes] = attrs.field(factory=set)
    """Session IDs and tickets' key names that its client brought and nothing was found by."""
    hello: tuple[Candidate, ...] = ()
    """All that its client brought back, in the order of `candidates`; noted for a log alone."""
    leaves: bool = False
    """Whether a session was not resumed so that its client gets an identifier that stays here."""
    replaced: bytes | None = None
    """The identifier for which its client, while connected, was sent another or asked to get it."""
    own_sessions: dict[bytes, bytes] = attrs.field(factory=dict)
    """Sessions, as DER, that this connection alone may resume, by their IDs."""
    pending_shares: list[Deferred[None]] = attrs.field(factory=list)
    """Fire once the group has what its sessions need; until then their names must not leave."""
    is_self_test: bool = False
    """Whether it belongs to the self-test: then nobody else may resume its sessions."""

    @property
    def found_by(self) -> Candidate | None:
        """What its client brought and a session was found by: resumed, if it fits otherwise."""
        if self.accepted is None or self.carrier is None:
            return None
        return Candidate(self.carrier, self.accepted, self.brought)

    def found(self, carrier: Carrier, identifier: bytes, brought: bytes) -> None:
        """A session was found."""
        self.accepted = identifier
        self.carrier = carrier
        self.brought = brought

    @property
    def newest(self) -> bytes | None:
        """The identifier that its client is most likely to come back with."""
        return self.issued[-1] if self.issued else self.accepted


class ServerConnection(SSL.Connection):
    """The server's end of a TLS connection, and its state, which goes with it.

    It reads and writes `over`, or memory if that is None.
    """

    def __init__(
        self,
        context: SSL.Context,
        state: ConnectionState | None = None,
        over: socket | None = None,
    ) -> None:
        super().__init__(context, over)
        self.state = state or ConnectionState()
        self._is_in_memory = over is None
        if over is not None:  # else one SSL_read goes on for as long as KeyUpdates come
            lib.SSL_clear_mode(self._ssl, lib.SSL_MODE_AUTO_RETRY)

    def has_more(self) -> bool:
        """Whether a read may find something that has left the socket, or the memory."""
        return bool(openssl().SSL_has_pending(self._ssl))

    def has_read_all(self) -> bool:
        """After a WantReadError: whether all was read, not only a record that carries no data."""
        return self._is_in_memory or bool(ffi.errno == EAGAIN)

    def has_heard(self) -> bool:
        """Whether the client has sent anything at all."""
        return bool(openssl().BIO_number_read(openssl().SSL_get_rbio(self._ssl)))


def state_of(ssl: Any) -> ConnectionState:
    """The state of the connection that a raw ``SSL *`` belongs to, found as pyOpenSSL does it.

    It is one that nobody reads where the connection is no `ServerConnection`.
    """
    connection = SSL.Connection._reverse_mapping.get(ssl)
    return connection.state if isinstance(connection, ServerConnection) else ConnectionState()
