"""TLS as a Twisted transport, on the socket itself: OpenSSL reads and writes it without a copy.

The application's protocol sits directly on it.  What it writes within one turn of the reactor goes
out together, and at once: the reactor watches for room only when the socket has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from socket import socket
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
    IProtocol,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.server.openssl.calls import forget_errors
from homing.server.openssl.connection_state import ServerConnection
from homing.server.tls.sockets import Address
from homing.server.tls.turns import TurnTaking

_RECORD = 1 << 14
_MOST_READS = 8
"""Records that one connection may read before others have their turn."""


@implementer(INegotiated)
class TLSTransport(TurnTaking):
    """The server's end of a connection; subclasses override the methods that say "Called"."""

    def __init__(
        self,
        reactor: Any,
        connection: socket,
        tls: ServerConnection,
        protocol: IProtocol,
        peer: Address,
        host: Address | None = None,
    ) -> None:
        super().__init__(reactor, connection, protocol, peer, host)
        self._tls: ServerConnection | None = tls
        self._is_open = False
        """Whether the handshake is done."""
        self._is_paused = False
        self._read_waits = False
        """Whether OpenSSL must write before it reads on."""
        self._write_waits = False
        """Whether OpenSSL must read before it writes on."""
        self._said_goodbye = self._peer_said_goodbye = False
        tls.set_accept_state()

    def start(self) -> None:
        """Connect the application, and begin with what has come.  It may be over afterwards."""
        self._is_busy = True
        try:
            self.protocol.makeConnection(self)
        finally:
            self._is_busy = False
        if self._is_aborted:
            return
        why = self.doRead()
        if why is not None:
            self.connectionLost(Failure(why))
        elif not self._is_aborted:
            self.startReading()

    def opened(self) -> None:
        """Called when the handshake is done."""

    def peer_closed(self) -> None:
        """Called when the client has said goodbye to an application that does not outlive that."""

    # What the reactor calls

    def doRead(self) -> Exception | None:
        """Read what has come, and write what the application says to it; why it is over, if so."""
        if self._is_paused and self._is_open and not self._said_goodbye:
            self.stopReading()  # not in pauseProducing: most resume before anything comes
            return self._write_on()
        return self._turn(self._read) or self._write_on()

    def doWrite(self) -> Exception | None:
        """Go on where the socket had no room; why it is over, if so."""
        if not self._is_open or self._read_waits:
            self._read_waits = False
            self._has_work = True
            self.stopWriting()
            self.startReading()
            return self.doRead()
        why = self._turn(super().doWrite)
        if why is None and (self._has_work or self._reads_on):
            self._later()
        return why

    def _write_on(self) -> Exception | None:
        if self._has_work and self._is_open and not self.is_blocked and not self._write_waits:
            self._has_work = False
            return self.doWrite()
        return None

    # Reading

    def _read(self) -> Exception | None:
        tls = self._tls
        assert tls is not None
        try:
            if not self._is_open:
                tls.do_handshake()
                self._handshake_done()
            self._write_waits = False
            self._read_records(tls)
        except SSL.WantReadError:
            self._reads_on = self._is_behind = False
        except SSL.WantWriteError:
            self._read_waits = True
            self.stopReading()
            self.wait_for_room()
        except SSL.ZeroReturnError as error:
            return self._peer_closes() if self._is_open else error
        except SSL.Error as error:
            return _cause(error)
        return None

    def _read_records(self, tls: ServerConnection) -> None:
        for _ in range(_MOST_READS):
            if (self._is_paused and not self._said_goodbye) or self._is_aborted:
                return
            try:
                data = tls.recv(_RECORD)
            except SSL.WantReadError:
                if tls.has_read_all():
                    raise
                continue
            if not self._is_paused:
                self.protocol.dataReceived(data)
            if not self._has_more(tls):
                self._reads_on = False
                return
        self._reads_on = True
        self._later()

    def _has_more(self, tls: ServerConnection) -> bool:
        return tls.has_more()

    def _handshake_done(self) -> None:
        self._is_open = True
        self.opened()
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()

    def _peer_closes(self) -> Exception | None:
        """The client's close_notify: nothing more comes."""
        if self._peer_said_goodbye:
            return CONNECTION_DONE if self._said_goodbye and self.is_flushed() else None
        self._peer_said_goodbye = True
        self.read_no_more()
        if not self.disconnecting and (half := IHalfCloseableProtocol(self.protocol, None)):
            half.readConnectionLost()
        else:
            self.peer_closed()
            self.disconnecting = True
            producer, self.producer = self.producer, None
            if producer is not None:
                producer.stopProducing()
        if self._said_goodbye and self.is_flushed():
            return CONNECTION_DONE
        if self.disconnecting:
            self.startWriting()
        return None

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        if self.disconnected or self._is_aborted:
            return
        self._is_paused = False
        self.startReading()
        if self._is_open and self._tls and self._has_more(self._tls):
            self._reads_on = True
            if not self._is_busy:
                self._later()

    # Writing: the rest is FileDescriptor's

    def write(self, data: bytes) -> None:
        if not self.disconnecting or self.producer is not None:
            super().write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def writeSomeData(self, data: bytes | memoryview) -> int | BaseException:
        tls = self._tls
        assert tls is not None
        sent = 0
        try:
            while sent < len(data) and self.is_flushed():
                sent += tls.send(memoryview(data)[sent:] if sent else data)
        except SSL.WantWriteError:
            self.wait_for_room()
        except SSL.WantReadError:
            self._write_waits = self._has_work = True
            self.stopWriting()
        except SSL.Error as error:
            return _cause(error)
        return sent

    # The end

    def loseConnection(self) -> None:
        """Say goodbye once all is written and no producer is left, and wait for the client's."""
        if not self.connected or self.disconnecting:
            return
        if not self._is_open and not self._tempDataLen:
            self.abortConnection()  # there is no TLS yet that could end
            return
        self.disconnecting = 1
        self.startWriting()

    def _postLoseConnection(self) -> Exception | None:
        return self._say_goodbye() if self.producer is None else None

    def _closeWriteConnection(self) -> Exception | None:
        said, why = self._said_goodbye, self._say_goodbye()
        half = IHalfCloseableProtocol(self.protocol, None)
        if self._said_goodbye and not said and half:
            half.writeConnectionLost()
        return why

    def _say_goodbye(self) -> Exception | None:
        """Send close_notify; why it is over, if so."""
        tls = self._tls
        assert tls is not None
        try:
            if not self._said_goodbye:
                tls.shutdown()
                self._said_goodbye = True
        except SSL.WantWriteError:
            self.wait_for_room()
            return None
        except SSL.WantReadError:
            self._write_waits = self._has_work = True
            return None
        except SSL.Error as error:
            return _cause(error)
        if self._peer_said_goodbye and self.is_flushed():
            return CONNECTION_DONE
        self.startReading()
        if self._has_more(tls):  # of an application that had paused
            self._reads_on = True
            self._later()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """End the socket, and tell the application."""
        if self.disconnected:
            return
        try:
            super().connectionLost(reason)
        finally:  # a producer may fail
            self.take_no_turn()
            self.close(abruptly=self._is_aborted)
            self.closed(reason)
            self._tls = None
            protocol = self.protocol
            del self.protocol  # it holds this transport
            protocol.connectionLost(reason)

    def closed(self, reason: Failure) -> None:
        """Called when the socket is closed, before the application knows."""

    def getHandle(self) -> SSL.Connection | None:
        return self._tls

    def getPeerCertificate(self) -> X509 | None:
        return self._tls.get_peer_certificate() if self._tls else None

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What ALPN chose; None if nothing, or not yet."""
        return (self._tls.get_alpn_proto_negotiated() or None) if self._tls else None


def _cause(error: SSL.Error) -> Exception:
    """Why a connection ends: an end without close_notify, or a reset, is no fault of TLS."""
    forget_errors()
    is_end = isinstance(error, SSL.SysCallError) or not error.args or not error.args[0]
    return ConnectionLost() if is_end else error
