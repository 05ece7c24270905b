"""Puts TLS below the protocols of an application, and keeps the open connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.task import CooperativeTask, Cooperator, TaskFinished
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from homing.server.openssl.connection_state import ServerConnection
from homing.server.tls.connection_log import ConnectionLog
from homing.server.tls.context import ServerContext
from homing.server.tls.deadlines import Phase
from homing.server.tls.transport import SessionTLSProtocol

_log = Logger()

HANDSHAKE_TIMEOUT = 10.0
"""Seconds within which a client must have finished its handshake."""

GOODBYE_TIMEOUT = 10.0
"""Seconds, after a close by either side, to send what is buffered and to close the other side."""


@implementer(IOpenSSLServerConnectionCreator)
class _ConnectionCreator:
    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        assert isinstance(tlsProtocol, SessionTLSProtocol)
        return ServerConnection(tlsProtocol.factory.context.ssl_context)


def _replace_identifier(connection: TLSMemoryBIOProtocol) -> None:
    assert isinstance(connection, SessionTLSProtocol)
    try:
        connection.give_another()
    except Exception:  # the others shall have theirs
        _log.failure("a client cannot be given another identifier")


class SessionTLSFactory(TLSMemoryBIOFactory):
    """Speaks TLS with `context`, which can be replaced, for the protocols of `application`."""

    protocol: type[TLSMemoryBIOProtocol] = SessionTLSProtocol

    def __init__(
        self,
        context: ServerContext,
        application: IProtocolFactory,
        clock: IReactorTime,
        *,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        goodbye_timeout: float = GOODBYE_TIMEOUT,
        connection_log: ConnectionLog | None = None,
    ) -> None:
        super().__init__(_ConnectionCreator(), False, application, clock)
        self.context = context
        self.clock = clock
        self.seconds = {
            Phase.HANDSHAKE: handshake_timeout,
            Phase.CLOSING: goodbye_timeout,
            Phase.PEER_CLOSED: goodbye_timeout,
        }
        """How long a connection may be in a phase."""
        self.connection_log = connection_log
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

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> TLSMemoryBIOProtocol | None:
        application = self.wrappedFactory.buildProtocol(addr)
        return None if application is None else self.protocol(self, application)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        for notify in list(self._ended):
            notify(p)
        if not self.protocols:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def replace_identifiers(self) -> None:
        """Give open connections whose identifiers leave this server others, a few at a time."""
        if self._replacing is not None:
            with suppress(TaskFinished):
                self._replacing.stop()
        cooperator = Cooperator(scheduler=lambda work: self.clock.callLater(0, work))
        self._replacing = cooperator.cooperate(map(_replace_identifier, list(self.protocols)))

    def idle(self) -> Deferred[None]:
        """Fires when no connection is open."""
        deferred: Deferred[None] = Deferred()
        if self.protocols:
            self._waiting.append(deferred)
        else:
            deferred.callback(None)
        return deferred
