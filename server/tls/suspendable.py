"""Twisted's TLS over a memory BIO that can be suspended: nothing is decrypted or sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory


class SuspendableTLSTransport(BufferingTLSTransport):
    """A TLS transport with `suspend`; subclasses override the methods that say "Called"."""

    def __init__(
        self,
        factory: TLSMemoryBIOFactory,
        wrappedProtocol: IProtocol,
        _connectWrapped: bool = True,
    ) -> None:
        super().__init__(factory, wrappedProtocol, _connectWrapped)
        self._suspended: bytes | None = None
        """What was received since the connection was suspended; None while it is not.

        Bounded: the transport below is paused.
        """

    def suspend(self, data: bytes, until: Deferred[Any]) -> None:
        """Neither decrypt nor send anything before `until` fires; then begin with `data`."""
        self._suspended = data
        self.transport.pauseProducing()  # type: ignore[union-attr]
        if self._producer is not None:
            self._producer.pauseProducing()
        until.addCallback(self._go_on)

    def received(self, data: bytes) -> None:
        """Called with `data` that was received while the connection was not suspended."""
        self.decrypt(data)

    def decrypted(self) -> None:
        """Called when the handshake or the application may have made progress."""

    def before_flush(self) -> None:
        """Called before anything is sent, or decrypted for the application."""

    def decrypt(self, data: bytes) -> None:
        """Give `data` to TLS."""
        super().dataReceived(data)
        self.decrypted()

    def resume(self) -> None:
        """Be suspended no longer; what was received meanwhile is dropped."""
        self._suspended = None

    def dataReceived(self, data: bytes) -> None:
        if self._suspended is None:
            self.received(data)
        else:
            self._suspended += data

    def _go_on(self, _: object) -> None:
        received = self._suspended or b""
        self.resume()
        if not self.connected or self.getHandle() is None:
            return
        self.transport.resumeProducing()  # type: ignore[union-attr]
        self._send_pending()
        if self._producer is not None:
            self._producer.resumeProducing()
        if self._handshakeDone:
            self._flushReceiveBIO()
            self.decrypted()
        if received:
            self.dataReceived(received)

    def _send_pending(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self.transport.write(self.getHandle().bio_read(1 << 15))  # type: ignore[union-attr]

    def _is_suspended(self) -> bool:
        if self._suspended is None:
            self.before_flush()
        return self._suspended is not None

    def _flushSendBIO(self) -> None:
        if not self._is_suspended():
            super()._flushSendBIO()

    def _flushReceiveBIO(self) -> None:
        if not self._is_suspended():
            super()._flushReceiveBIO()
