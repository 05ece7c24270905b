"""Twisted's TLS over a memory BIO, which can be suspended: nothing comes in or goes out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory


class SuspendableTLSTransport(BufferingTLSTransport):
    """A TLS transport with `suspend`; subclasses say when by overriding what has no underscore."""

    def __init__(
        self,
        factory: TLSMemoryBIOFactory,
        wrappedProtocol: IProtocol,
        _connectWrapped: bool = True,
    ) -> None:
        super().__init__(factory, wrappedProtocol, _connectWrapped)
        self._suspended: bytes | None = None
        """What came since the connection was suspended; None while it is not."""

    def suspend(self, data: bytes, until: Deferred[Any]) -> None:
        """Neither decrypt nor send anything before `until` fires; `data` comes first then."""
        self._suspended = data
        self.transport.pauseProducing()  # type: ignore[union-attr]
        if self._producer is not None:
            self._producer.pauseProducing()
        until.addCallback(self._go_on)

    def received(self, data: bytes) -> None:
        """`data` came while the connection was not suspended."""
        self.decrypt(data)

    def decrypted(self) -> None:
        """Called when the handshake or the application may have got on."""

    def before_flush(self) -> None:
        """Called before anything is sent, or decrypted for the application."""

    def decrypt(self, data: bytes) -> None:
        """Let TLS have `data`."""
        super().dataReceived(data)
        self.decrypted()

    def resume(self) -> None:
        """Be suspended no longer; what came meanwhile is forgotten."""
        self._suspended = None

    def dataReceived(self, data: bytes) -> None:
        if self._suspended is None:
            self.received(data)
        else:
            self._suspended += data

    def _go_on(self, _: object) -> None:
        came = self._suspended or b""
        self.resume()
        if not self.connected or self.getHandle() is None:
            return
        self.transport.resumeProducing()  # type: ignore[union-attr]
        self._send_what_waits()
        if self._producer is not None:
            self._producer.resumeProducing()
        if self._handshakeDone:
            self._flushReceiveBIO()
            self.decrypted()
        if came:
            self.dataReceived(came)

    def _send_what_waits(self) -> None:
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
