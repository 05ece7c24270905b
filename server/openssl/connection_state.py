"""What OpenSSL's callbacks note about one connection, and what they need to know about it."""

from __future__ import annotations

from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred


@attrs.define
class ConnectionState:
    """What happened on one connection."""

    issued: list[bytes] = attrs.field(factory=list)
    """The identifiers that its client was given, in order."""
    accepted: bytes | None = None
    """What its client brought and a session was found by: a session ID, or a ticket's key name."""
    missed: set[bytes] = attrs.field(factory=set)
    """What its client brought and nothing was found by: no session, and no secret of its ticket."""
    own_sessions: dict[bytes, bytes] = attrs.field(factory=dict)
    """Sessions that this connection alone may resume, as DER, by their IDs."""
    pending_shares: list[Deferred[None]] = attrs.field(factory=list)
    """Its sessions and tickets' secrets on their way to the group: their names leave afterwards."""
    is_self_test: bool = False
    """Whether it is one of the self-test, whose sessions are nobody's."""


class ServerConnection(SSL.Connection):
    """The server's end of a TLS connection, in memory, and its state, which goes with it."""

    def __init__(self, context: SSL.Context, state: ConnectionState | None = None) -> None:
        super().__init__(context, None)
        self.state = state or ConnectionState()


def state_of(ssl: Any) -> ConnectionState:
    """The state of the connection that a raw ``SSL *`` belongs to, found as pyOpenSSL does it."""
    connection = SSL.Connection._reverse_mapping[ssl]
    assert isinstance(connection, ServerConnection)
    return connection.state
