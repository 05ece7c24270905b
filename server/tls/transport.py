"""The connections of a server: TLS with deadlines, sessions that are noted, and a log."""

from __future__ import annotations

import fcntl
import termios
import time
from socket import socket
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.server.openssl.calls import give_another_session, session_reused
from homing.server.openssl.connection_state import ConnectionState, ServerConnection
from homing.server.tls.deadlines import ConnectionDeadlines, ConnectionEvent, Phase
from homing.server.tls.session import Session
from homing.server.tls.sockets import Address
from homing.server.tls.stream import TLSTransport
from homing.shared.candidates import Candidate

if TYPE_CHECKING:
    from homing.server.tls.factory import SessionTLSFactory


_log = Logger()


class SessionTLSTransport(TLSTransport):
    """One connection of `factory`."""

    _has_failed = False
    """Whether the application failed before the handshake."""

    def __init__(
        self,
        factory: SessionTLSFactory,
        connection: socket,
        protocol: IProtocol,
        peer: Address,
        host: Address | None = None,
    ) -> None:
        self._state = ConnectionState()
        tls = ServerConnection(factory.context.ssl_context, self._state, self.below(connection))
        super().__init__(factory.reactor, connection, tls, protocol, peer, host)
        self.factory = factory
        self.began = time.time()
        """When the connection was made, in seconds since 1970."""
        self._deadlines = ConnectionDeadlines(
            factory.limits, sends=self._sends, abort=self.abortConnection
        )

    def below(self, connection: socket) -> socket | None:
        """Called for what OpenSSL reads and writes itself."""
        return connection

    @property
    def brought(self) -> tuple[Candidate, ...]:
        """What its client brought back, in the order of `candidates`, where there is a log."""
        return self._state.hello

    def session(self) -> Session:
        """What is known about the session after the handshake."""
        assert self._tls is not None
        resumed = session_reused(self._tls)
        return Session(
            self._tls.get_protocol_version_name(),
            resumed,
            self._state.found_by if resumed else None,
            tuple(self._state.issued),
            frozenset(self._state.missed),
            self._state.leaves,
        )

    def start(self) -> None:
        try:
            super().start()
        except Exception:
            _log.failure("the application failed for a connection")
            self._has_failed = True
            self.abortConnection()

    def opened(self) -> None:
        self._deadlines.happened(ConnectionEvent.HANDSHAKE_DONE)
        if self.factory.connection_log is not None:
            self.factory.connection_log.finished(self)
        if self.factory.context.issuer.leaves:
            self.give_another()

    def peer_closed(self) -> None:
        self._deadlines.happened(ConnectionEvent.PEER_CLOSE)

    def give_another(self) -> None:
        """Give the client another identifier, once, if the one that it has leaves this server."""
        newest = self._state.newest
        if newest is None or newest == self._state.replaced or self.is_blocked:
            return
        if self._tls is None or self._deadlines.phase is not Phase.OPEN:
            return
        if self.factory.context.issuer.leaves_at(newest) is not None:
            self._state.replaced = newest
            give_another_session(self._tls)
            if not self.is_flushed():
                self.wait_for_room()

    def loseConnection(self) -> None:
        if self.connected:
            self._deadlines.happened(ConnectionEvent.CLOSE)
        super().loseConnection()

    def _sends(self) -> bool:
        """Whether the kernel has unsent bytes."""
        return any(fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))

    def closed(self, reason: Failure) -> None:
        self._deadlines.happened(ConnectionEvent.LOST)
        assert self._tls is not None
        log = self.factory.connection_log
        if self._is_open:
            pass
        elif self._tls.get_peer_finished() is None:
            self.factory.context.issuer.take_back(self._state.issued)
            if log is not None and self._tls.has_heard() and not self._has_failed:  # else a probe
                log.failed(self, reason)
        elif log is not None:  # it left before its tickets were out
            log.finished(self)
        self.factory.ended(self)
