"""TLS through memory: what is received or sent can wait for a group's store.

Where clients may renegotiate it is also used without a group: OpenSSL cannot renegotiate on a
socket that has no room.
"""

from __future__ import annotations

from contextlib import suppress
from socket import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ConnectionLost
from twisted.logger import Logger

from homing.server.openssl.connection_state import ServerConnection
from homing.server.tls.transport import SessionTLSTransport
from homing.shared.candidates import candidates
from homing.shared.client_hello import ClientHello, ClientHelloReader, NeedMore

_MOST = 1 << 16
_log = Logger()


class HeldBackTransport(SessionTLSTransport):
    """A connection whose hello waits for the group, and whose session's name for the group's store.

    While it waits, nothing is read or sent.  Every wait ends within the store's deadline.
    """

    _hello: ClientHelloReader | None = None
    _unsent = b""
    _waits = False

    def below(self, connection: socket) -> socket | None:
        self._hello = ClientHelloReader()
        return None

    def doRead(self) -> Exception | None:
        if self._waits:
            self.stopReading()
            return None
        if len(self._unsent) >= _MOST and not self.is_flushed():
            self._read_waits = True  # or else who reads nothing has answers heaped up
            self.stopReading()
            self.wait_for_room()
            return None
        return super().doRead()

    def _read(self) -> Exception | None:
        assert self._tls is not None
        if self._is_behind:
            return super()._read()
        try:
            received = self.socket.recv(_MOST)
        except BlockingIOError:
            return super()._read()
        except OSError:
            return ConnectionLost()
        self._is_behind = True
        if not received:
            self._tls.bio_shutdown()
        else:
            self._tls.bio_write(received)
            if self._hello is not None and self._asks_group(received):
                return None
        return super()._read()

    def _has_more(self, tls: ServerConnection) -> bool:
        return self._is_behind

    def give_another(self) -> None:
        if not self._waits:
            super().give_another()

    def _asks_group(self, received: bytes) -> bool:
        """Wait if the hello is complete and the group may have its session; whether it does."""
        assert self._hello is not None
        outcome = self._hello.feed(received)
        if isinstance(outcome, NeedMore):
            return False
        self._hello = None
        group, cache = self.factory.context.group, self.factory.context.cache
        brought = candidates(outcome) if isinstance(outcome, ClientHello) else ()
        if group is None or any(one.identifier in cache for one in brought):
            return False
        wanted = group.wanted(brought)
        if wanted:
            fetching = Deferred.fromCoroutine(group.fetch(self._state, wanted))
            self._wait_for(fetching.addErrback(lambda f: _log.failure("fetching a session", f)))
        return bool(wanted)

    def _wait_for(self, waiting: Deferred[Any]) -> None:
        self._waits = True
        self.stopWriting()
        waiting.addCallback(self._wait_no_more)

    def _wait_no_more(self, _: object) -> None:
        self._waits = False
        if not self.disconnected and not self._is_aborted:
            self.startReading()
            self._has_work = self._reads_on = True
            self._later()

    def wait_for_room(self) -> None:
        if not self._waits:
            super().wait_for_room()

    def is_flushed(self) -> bool:
        """Send what TLS has written, unless the group is to know of a session before."""
        pending, self._state.pending_shares = self._state.pending_shares, []
        if not all(one.called for one in pending):
            self._wait_for(DeferredList(pending, consumeErrors=True))
        if self._waits or self._tls is None:
            return False
        with suppress(SSL.WantReadError):
            while len(self._unsent) < _MOST:
                self._unsent += self._tls.bio_read(_MOST)
        has_all = len(self._unsent) < _MOST
        with suppress(OSError):  # no room; or the client is gone, as the next read tells
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        return has_all and not self._unsent
