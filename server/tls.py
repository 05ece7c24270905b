"""TLS over an adopted or accepted connection, by Twisted's memory BIO.

What it adds to Twisted's own: sessions survive clients that close without close_notify, a deadline
for the handshake, and knowledge of what the client brought back.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from server.openssl import is_known, session_id, session_reused
from server.session_ids import SessionIds
from shared.client_hello import ClientHello, ClientHelloReader, NeedMore
from shared.identifiers import Candidate, Carrier, candidates

HANDSHAKE_TIMEOUT = 10.0
"""Seconds within which a client must have finished its handshake."""

GOODBYE_TIMEOUT = 10.0
"""Seconds for what is still to be sent, and for the client's close_notify, after ours."""


@attrs.frozen
class Session:
    """What is known about a connection's TLS session."""

    protocol: str
    resumed: bool
    found_by: Candidate | None
    """The identifier the client brought back and the session was found by."""
    issued: tuple[bytes, ...]
    """The identifiers drawn from the record for this connection."""


class SessionTLSProtocol(BufferingTLSTransport):
    """The TLS layer of one connection."""

    factory: SessionTLSFactory

    def __init__(
        self,
        factory: SessionTLSFactory,
        wrappedProtocol: IProtocol,
        _connectWrapped: bool = True,
    ) -> None:
        super().__init__(factory, wrappedProtocol, _connectWrapped)
        self._hello: ClientHelloReader | None = ClientHelloReader()
        self._brought: tuple[Candidate, ...] = ()
        self._issued: list[bytes] = []
        self._deadline: IDelayedCall | None = None

    def makeConnection(self, transport: ITransport) -> None:
        self._end_within(self.factory.handshake_timeout)
        super().makeConnection(transport)
        self._issued = self.factory.session_ids.watch(self.getHandle())

    def session(self) -> Session:
        """What is known about the session, once the handshake is done."""
        connection = self.getHandle()
        resumed = session_reused(connection._ssl)
        return Session(
            connection.get_protocol_version_name(),
            resumed,
            self._found_by(connection) if resumed else None,
            tuple(self._issued),
        )

    def _found_by(self, connection: SSL.Connection) -> Candidate | None:
        """The identifier of the hello that a resumed session was found by."""
        current = session_id(connection)
        for candidate in self._brought:
            if candidate.carrier is Carrier.PSK or candidate.identifier == current:
                return candidate
        return None

    def dataReceived(self, data: bytes) -> None:
        if self._hello is not None:
            self._peek(self._hello, data)
        super().dataReceived(data)
        if self._deadline is not None and not self.disconnecting and self._has_finished():
            self._deadline.cancel()
            self._deadline = None

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self._end_within(self.factory.goodbye_timeout)
        super().loseConnection()

    def _end_within(self, seconds: float) -> None:
        """Abort the connection in so many seconds unless the deadline is cancelled or moved."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.factory.clock.callLater(seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        self.abortConnection()

    def _peek(self, hello: ClientHelloReader, data: bytes) -> None:
        """Note what the client brings back; of PSK identities, only what the cache knows now.

        A TLS 1.3 connection takes the first it knows, and has another ID when it is done.
        """
        outcome = hello.feed(data)
        if isinstance(outcome, NeedMore):
            return
        self._hello = None
        if isinstance(outcome, ClientHello):
            ssl = self.getHandle()._ssl
            self._brought = tuple(
                candidate
                for candidate in candidates(outcome)
                if candidate.carrier is not Carrier.PSK or is_known(ssl, candidate.identifier)
            )

    def _has_finished(self) -> bool:
        connection = self.getHandle()
        return connection is not None and connection.get_peer_finished() is not None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        connection = self.getHandle()
        if connection is not None:
            self.factory.session_ids.unwatch(connection)
            if self._has_finished():
                # As if both sides had said goodbye: OpenSSL drops the session otherwise
                connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        super().connectionLost(reason)


@implementer(IOpenSSLServerConnectionCreator)
@attrs.frozen
class _ConnectionCreator:
    context: SSL.Context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class SessionTLSFactory(TLSMemoryBIOFactory):
    """Puts TLS with the sessions of `session_ids` below the protocols of `application`."""

    protocol: type[TLSMemoryBIOProtocol] = SessionTLSProtocol

    def __init__(
        self,
        context: SSL.Context,
        session_ids: SessionIds,
        application: IProtocolFactory,
        clock: IReactorTime,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        goodbye_timeout: float = GOODBYE_TIMEOUT,
    ) -> None:
        super().__init__(_ConnectionCreator(context), False, application, clock)
        self.session_ids = session_ids
        self.clock = clock
        self.handshake_timeout = handshake_timeout
        self.goodbye_timeout = goodbye_timeout
        self._ended: list[Callable[[], None]] = []
        self._waiting: list[Deferred[None]] = []

    @property
    def active(self) -> int:
        """The number of open connections."""
        return len(self.protocols)

    def on_ended(self, notify: Callable[[], None]) -> None:
        """Call `notify` whenever a connection is over, until `forget` takes it back."""
        self._ended.append(notify)

    def forget(self, notify: Callable[[], None]) -> None:
        """The opposite of `on_ended`."""
        self._ended.remove(notify)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        for notify in list(self._ended):
            notify()
        if not self.protocols:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def idle(self) -> Deferred[None]:
        """Fires when no connection is open any more."""
        deferred: Deferred[None] = Deferred()
        if self.protocols:
            self._waiting.append(deferred)
        else:
            deferred.callback(None)
        return deferred
