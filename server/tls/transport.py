"""TLS over an adopted or accepted connection.

It adds to Twisted's own: deadlines, what the client brought back, and waiting for the group.
"""

from __future__ import annotations

import fcntl
import termios
import time
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.server.openssl.calls import give_another_session, session_reused
from homing.server.openssl.connection_state import ConnectionState
from homing.server.tls.deadlines import ConnectionDeadlines, ConnectionEvent, Phase
from homing.server.tls.session import Session
from homing.server.tls.suspendable import SuspendableTLSTransport
from homing.shared.candidates import Candidate, candidates
from homing.shared.client_hello import ClientHello, ClientHelloReader, NeedMore
from homing.shared.deadlines import STALL_TIMEOUT

if TYPE_CHECKING:
    from homing.server.tls.factory import SessionTLSFactory

_log = Logger()


class SessionTLSProtocol(SuspendableTLSTransport):
    """The TLS layer of one connection."""

    factory: SessionTLSFactory
    _deadlines: ConnectionDeadlines

    def __init__(
        self,
        factory: SessionTLSFactory,
        wrappedProtocol: IProtocol,
        _connectWrapped: bool = True,
    ) -> None:
        super().__init__(factory, wrappedProtocol, _connectWrapped)
        self._hello: ClientHelloReader | None = ClientHelloReader()
        self._brought: tuple[Candidate, ...] = ()
        self._state = ConnectionState()
        self.began = time.time()
        """When the connection was made, in seconds since 1970."""
        self._silent = True
        """Whether its client has sent nothing yet."""
        self._logged = factory.connection_log is None

    def makeConnection(self, transport: Any) -> None:
        self._deadlines = ConnectionDeadlines(
            self.factory.clock,
            self.factory.seconds,
            sends=self._sends,
            abort=self.abortConnection,
        )
        transport.getHandle().setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(1000 * STALL_TIMEOUT))
        try:
            super().makeConnection(transport)
        except Exception:
            if self.getHandle() is None:
                raise
            _log.failure("the application failed for a connection")
            self._logged = True  # not as a failed handshake
            self.abortConnection()
            return
        self._state = self.getHandle().state

    @property
    def brought(self) -> tuple[Candidate, ...]:
        """What its client brought back, in the order of `candidates`."""
        return self._brought

    def session(self) -> Session:
        """What is known about the session after the handshake."""
        connection = self.getHandle()
        resumed = session_reused(connection)
        by = (one for one in self._brought if resumed and one.identifier == self._state.accepted)
        return Session(
            connection.get_protocol_version_name(),
            resumed,
            next(by, None),
            tuple(self._state.issued),
            frozenset(self._state.missed),
            self._state.leaves,
        )

    def received(self, data: bytes) -> None:
        self._silent = False
        if self._hello is not None:
            outcome = self._hello.feed(data)
            if isinstance(outcome, ClientHello):
                self._brought = candidates(outcome)
            if not isinstance(outcome, NeedMore):
                self._hello = None
                if self._waits_for_group(data):
                    return
        self.decrypt(data)

    def _waits_for_group(self, data: bytes) -> bool:
        """Suspend the connection if the group may have the client's session; whether it does."""
        context = self.factory.context
        group = context.group
        if group is None or any(one.identifier in context.cache for one in self._brought):
            return False
        wanted = group.wanted(self._brought)
        if wanted:
            fetching = Deferred.fromCoroutine(group.fetch(self._state, wanted))
            fetching.addErrback(lambda failure: _log.failure("fetching a session", failure))
            self.suspend(data, fetching)
        return bool(wanted)

    def before_flush(self) -> None:
        """Hold back a session's name until the group has the session: another member may need it.

        Every put ends within the store's deadline.
        """
        pending, self._state.pending_shares = self._state.pending_shares, []
        if not all(one.called for one in pending):
            self.suspend(b"", DeferredList(pending, consumeErrors=True))

    def decrypted(self) -> None:
        if not self._logged:
            self._log_it()
        if self._deadlines.phase is Phase.HANDSHAKE and self._has_finished():
            self._deadlines.happened(ConnectionEvent.HANDSHAKE_DONE)
        if self._lostTLSConnection:
            self._deadlines.happened(ConnectionEvent.PEER_CLOSE)
        if self.factory.context.issuer.leaves:
            self.give_another()

    def give_another(self) -> None:
        """Give the client another identifier, once, if the one that it has leaves this server."""
        newest = self._state.newest
        if newest is None or newest == self._state.replaced or self._suspended is not None:
            return
        if self._deadlines.phase is not Phase.OPEN:
            return
        if self.factory.context.issuer.leaves_at(newest) is not None:
            self._state.replaced = newest
            give_another_session(self.getHandle())
            self._flushSendBIO()

    def _log_it(self, lost: Failure | None = None) -> None:
        log = self.factory.connection_log
        if log is not None and self._has_finished():
            self._logged = True
            log.finished(self)
        elif log is not None and lost is not None and not self._silent:  # else it was a probe
            log.failed(self, self._reason or lost)

    def loseConnection(self) -> None:
        if self.connected:
            self._deadlines.happened(ConnectionEvent.CLOSE)
        super().loseConnection()

    def _sends(self) -> bool:
        """Whether the kernel has unsent bytes."""
        handle = self.transport.getHandle()  # type: ignore[union-attr]
        unsent = fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4))
        return any(unsent)

    def _has_finished(self) -> bool:
        connection = self.getHandle()
        return connection is not None and connection.get_peer_finished() is not None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadlines.happened(ConnectionEvent.LOST)
        self.resume()  # what has been decrypted still reaches the application
        if not self._logged:
            self._log_it(reason)
        if not self._has_finished():
            self.factory.context.issuer.take_back(self._state.issued)
        super().connectionLost(reason)
