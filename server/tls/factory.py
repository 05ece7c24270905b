"""Serves an application over TLS, and keeps the open connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from socket import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import CooperativeTask, Cooperator, TaskFinished
from twisted.logger import Logger

from homing.server.openssl.hellos import note_hellos
from homing.server.tls.common_deadline import CommonDeadline
from homing.server.tls.connection_log import ConnectionLog
from homing.server.tls.context import ServerContext
from homing.server.tls.deadlines import Phase
from homing.server.tls.held_back import HeldBackTransport
from homing.server.tls.sockets import Address, end, peer_address, set_up
from homing.server.tls.transport import SessionTLSTransport
from homing.shared.rarely import Rarely

_log = Logger()

HANDSHAKE_TIMEOUT = 10.0
"""Seconds within which a client must have finished its handshake."""

GOODBYE_TIMEOUT = 10.0
"""Seconds, after a close by either side, to send what is buffered and to close the other side."""


def _replace_identifier(connection: SessionTLSTransport) -> None:
    try:
        connection.give_another()
    except Exception:  # the others shall have theirs
        _log.failure("a client cannot be given another identifier")


class SessionTLSFactory:
    """Speaks TLS with `context`, which can be replaced, for the protocols of `application`."""

    def __init__(
        self,
        context: ServerContext,
        application: IProtocolFactory,
        reactor: Any,
        *,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        goodbye_timeout: float = GOODBYE_TIMEOUT,
        connection_log: ConnectionLog | None = None,
    ) -> None:
        self.application = application
        self.reactor = reactor
        self.connections: set[SessionTLSTransport] = set()
        """Those that are open."""
        self.limits = {
            Phase.HANDSHAKE: CommonDeadline(reactor, handshake_timeout),
            Phase.CLOSING: CommonDeadline(reactor, goodbye_timeout),
            Phase.PEER_CLOSED: CommonDeadline(reactor, goodbye_timeout),
        }
        """How long a connection may be in a phase."""
        self.connection_log = connection_log
        self.use(context)
        self._gone = Rarely(self._say_gone)
        self._why_gone = ""
        self._replacing: CooperativeTask[Iterator[None]] | None = None
        self._ended: list[Callable[[object], None]] = []
        self._waiting: list[Deferred[None]] = []

    def on_ended(self, notify: Callable[[object], None]) -> None:
        """Call `notify` with every connection that ends, until `forget`."""
        self._ended.append(notify)

    def forget(self, notify: Callable[[object], None]) -> None:
        """The opposite of `on_ended`."""
        if notify in self._ended:
            self._ended.remove(notify)

    def use(self, context: ServerContext) -> None:
        """Speak TLS with `context` from now on."""
        self.context = context
        if self.connection_log is not None:
            note_hellos(context.ssl_context)
        self._transport = HeldBackTransport if context.is_in_memory else SessionTLSTransport

    def take(
        self, connection: socket, peer: Address | None = None, host: Address | None = None
    ) -> SessionTLSTransport | None:
        """Serve a connected socket, of the client `peer` to `host`, by default its own addresses.

        None when it is over already.
        """
        try:
            set_up(connection)
            peer = peer or peer_address(connection)
        except OSError as error:  # the client has gone
            self._why_gone = str(error)
            self._gone.happened()
            end(connection)
            return None
        protocol = self._protocol(peer)
        if protocol is None:
            end(connection)
            return None
        transport = self._transport(self, connection, protocol, peer, host)
        self.connections.add(transport)
        transport.start()
        return None if transport.disconnected else transport

    def _say_gone(self, count: int) -> None:
        words = "connections that ended on their way here: {count}; the last: {error}"
        _log.warn(words, count=count, error=self._why_gone)

    def _protocol(self, peer: Address) -> IProtocol | None:
        try:
            return self.application.buildProtocol(peer)
        except Exception:  # must not end others with it
            _log.failure("the application failed for a connection")
            return None

    def ended(self, connection: SessionTLSTransport) -> None:
        """A connection is over."""
        self.connections.discard(connection)
        for notify in list(self._ended):
            notify(connection)
        if not self.connections:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def replace_identifiers(self) -> None:
        """Give open connections whose identifiers leave this server others, a few at a time."""
        if self._replacing is not None:
            with suppress(TaskFinished):
                self._replacing.stop()
        cooperator = Cooperator(scheduler=lambda work: self.reactor.callLater(0, work))
        self._replacing = cooperator.cooperate(map(_replace_identifier, list(self.connections)))

    def stop(self) -> None:
        """Abort what is open, and leave no timer."""
        for connection in list(self.connections):
            connection.abortConnection()
        for limit in self.limits.values():
            limit.stop()

    def idle(self) -> Deferred[None]:
        """Fires when no connection is open."""
        deferred: Deferred[None] = Deferred()
        if self.connections:
            self._waiting.append(deferred)
        else:
            deferred.callback(None)
        return deferred
