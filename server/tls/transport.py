"""TLS over an adopted or accepted connection, by Twisted's memory BIO.

What it adds to Twisted's own: deadlines, knowledge of what the client brought back, and waiting for
the group's store.
"""

from __future__ import annotations

import fcntl
import termios
import time
from collections.abc import Callable
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT
from typing import Any, Protocol

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.server.identifiers.issuer import Watch
from homing.server.openssl.calls import session_reused
from homing.server.tls.context import Sessions
from homing.server.tls.held import HeldTLSTransport
from homing.shared.candidates import Candidate, candidates
from homing.shared.client_hello import ClientHello, ClientHelloReader, NeedMore
from homing.shared.deadlines import STALL_TIMEOUT, Deadline

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
    missed: frozenset[bytes] = frozenset()
    """The identifiers the client brought back and nothing was found by."""


class ConnectionLog(Protocol):
    """What is told of every connection."""

    def finished(self, connection: SessionTLSProtocol) -> None:
        """Its handshake is done."""

    def failed(self, connection: SessionTLSProtocol, reason: Failure) -> None:
        """It ended before that, though its client had begun."""


_log = Logger()


class SessionTLSProtocol(HeldTLSTransport):
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
        self._watch = Watch()
        self.began = time.time()
        """When the connection was made, in seconds since 1970."""
        self._deadline: Deadline | None = None
        self._silent = True
        """Whether its client has said nothing yet."""
        self._logged = factory.connection_log is None

    def makeConnection(self, transport: Any) -> None:
        self._end_within(self.factory.handshake_timeout)
        transport.getHandle().setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(1000 * STALL_TIMEOUT))
        try:
            super().makeConnection(transport)
        except Exception:
            if self.getHandle() is None:
                raise
            _log.failure("the application failed for a connection")
            self._logged = True  # it is no failed handshake
            self.abortConnection()
            return
        self._watch = self.factory.sessions.issuer.watch(self.getHandle())

    @property
    def brought(self) -> tuple[Candidate, ...]:
        """What its client brought back, the most telling first."""
        return self._brought

    def session(self) -> Session:
        """What is known about the session, once the handshake is done."""
        connection = self.getHandle()
        resumed = session_reused(connection._ssl)
        return Session(
            connection.get_protocol_version_name(),
            resumed,
            self._found_by() if resumed else None,
            tuple(self._watch.issued),
            frozenset(self._watch.missed),
        )

    def _found_by(self) -> Candidate | None:
        """The identifier of the hello that a resumed session was found by."""
        accepted = self._watch.accepted
        return next((one for one in self._brought if one.identifier == accepted), None)

    def received(self, data: bytes) -> None:
        self._silent = False
        if self._hello is not None:
            self._peek(self._hello, data)
            if self._hello is None and self._waits_for_group(data):
                return
        self.decrypt(data)

    def _waits_for_group(self, data: bytes) -> bool:
        """Hold `data` while what the group knows of the client's session is fetched."""
        sessions = self.factory.sessions
        group = sessions.group
        if group is None or any(sessions.know(one.identifier) for one in self._brought):
            return False
        wanted = group.wanted(self._brought)
        if wanted:
            fetching = Deferred.fromCoroutine(group.fetch(self._watch, wanted))
            fetching.addErrback(lambda failure: _log.failure("fetching a session", failure))
            self.hold(data, fetching)
        return bool(wanted)

    def before_flush(self) -> None:
        """Hold back what names a session until the group has it: a fellow may see it next.

        A put is over within the store's deadline, whatever becomes of it.
        """
        if self._watch.sharing:
            sharing, self._watch.sharing[:] = list(self._watch.sharing), []
            if not all(one.called for one in sharing):
                self.hold(b"", DeferredList(sharing, consumeErrors=True))

    def decrypted(self) -> None:
        if not self._logged:
            self._log_it()
        if self._lostTLSConnection:
            if self._deadline is None:
                self._end_within(self.factory.goodbye_timeout)  # its client has said goodbye
        elif self._deadline is not None and not self.disconnecting and self._has_finished():
            self._deadline.cancel()
            self._deadline = None

    def _log_it(self, lost: Failure | None = None) -> None:
        log = self.factory.connection_log
        if log is not None and self._has_finished():
            self._logged = True
            log.finished(self)
        elif log is not None and lost is not None and not self._silent:  # else it was a probe
            log.failed(self, self._reason or lost)

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self._end_within(self.factory.goodbye_timeout)
        super().loseConnection()

    def _end_within(self, seconds: float) -> None:
        """Abort the connection in so many seconds unless the deadline is cancelled or moved."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = Deadline(self.factory.clock, seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self.disconnecting and self._sends():
            self._end_within(self.factory.goodbye_timeout)
        else:
            self.abortConnection()

    def _sends(self) -> bool:
        """Whether the kernel has unsent bytes: a slow client is given time as long as it reads.

        One that reads nothing for `STALL_TIMEOUT` is the kernel's to end.
        """
        handle = self.transport.getHandle()  # type: ignore[union-attr]
        unsent = fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4))
        return any(unsent)

    def _peek(self, hello: ClientHelloReader, data: bytes) -> None:
        """Note what the client brings back, before OpenSSL looks at it."""
        outcome = hello.feed(data)
        if isinstance(outcome, NeedMore):
            return
        self._hello = None
        if isinstance(outcome, ClientHello):
            self._brought = candidates(outcome)

    def _has_finished(self) -> bool:
        connection = self.getHandle()
        return connection is not None and connection.get_peer_finished() is not None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.let_go()  # what has been decrypted still reaches the application
        if not self._logged:
            self._log_it(reason)
        connection = self.getHandle()
        if connection is not None:
            self.factory.sessions.issuer.unwatch(connection)
            if not self._has_finished():
                self.factory.sessions.issuer.take_back(self._watch)
        super().connectionLost(reason)


@implementer(IOpenSSLServerConnectionCreator)
class _ConnectionCreator:
    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        assert isinstance(tlsProtocol, SessionTLSProtocol)
        return SSL.Connection(tlsProtocol.factory.sessions.context, None)


class SessionTLSFactory(TLSMemoryBIOFactory):
    """Puts TLS with `sessions`, which can be replaced, below the protocols of `application`."""

    protocol: type[TLSMemoryBIOProtocol] = SessionTLSProtocol

    def __init__(
        self,
        sessions: Sessions,
        application: IProtocolFactory,
        clock: IReactorTime,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        goodbye_timeout: float = GOODBYE_TIMEOUT,
        connection_log: ConnectionLog | None = None,
    ) -> None:
        super().__init__(_ConnectionCreator(), False, application, clock)
        self.sessions = sessions
        self.clock = clock
        self.handshake_timeout = handshake_timeout
        self.goodbye_timeout = goodbye_timeout
        self.connection_log = connection_log
        self._ended: list[Callable[[object], None]] = []
        self._waiting: list[Deferred[None]] = []

    @property
    def active(self) -> int:
        """The number of open connections."""
        return len(self.protocols)

    def on_ended(self, notify: Callable[[object], None]) -> None:
        """Call `notify` with every connection that is over, until `forget` takes it back."""
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

    def idle(self) -> Deferred[None]:
        """Fires when no connection is open any more."""
        deferred: Deferred[None] = Deferred()
        if self.protocols:
            self._waiting.append(deferred)
        else:
            deferred.callback(None)
        return deferred
