"""Twisted's TLS over a memory BIO, which can be held for a moment: nothing comes in or goes out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory


class HeldTLSTransport(BufferingTLSTransport):
    """A TLS transport with `hold`; subclasses say when by overriding what has no underscore."""

    def __init__(
        self,
        factory: TLSMemoryBIOFactory,
        wrappedProtocol: IProtocol,
        _connectWrapped: bool = True,
    ) -> None:
        super().__init__(factory, wrappedProtocol, _connectWrapped)
        self._held: bytes | None = None
        """What came since the connection is held; None while it is not."""

    def hold(self, data: bytes, until: Deferred[Any]) -> None:
        """Neither decrypt nor send anything before `until` fires; `data` comes first then."""
        self._held = data
        self.transport.pauseProducing()  # type: ignore[union-attr]
        if self._producer is not None:
            self._producer.pauseProducing()
        until.addCallback(self._go_on)

    def received(self, data: bytes) -> None:
        """`data` came while the connection was not held."""
        self.decrypt(data)

    def decrypted(self) -> None:
        """Called when the handshake or the application may have got on."""

    def before_flush(self) -> None:
        """Called before anything is sent, or decrypted for the application."""

    def decrypt(self, data: bytes) -> None:
        """Let TLS have `data`."""
        super().dataReceived(data)
        self.decrypted()

    def let_go(self) -> None:
        """Be held no longer."""
        self._held = None

    def dataReceived(self, data: bytes) -> None:
        if self._held is None:
            self.received(data)
        else:
            self._held += data

    def _go_on(self, _: object) -> None:
        held = self._held or b""
        self.let_go()
        if not self.connected or self.getHandle() is None:
            return
        self.transport.resumeProducing()  # type: ignore[union-attr]
        self._send_held()
        if self._producer is not None:
            self._producer.resumeProducing()
        if self._handshakeDone:
            self._flushReceiveBIO()
            self.decrypted()
        if held:
            self.dataReceived(held)

    def _send_held(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self.transport.write(self.getHandle().bio_read(1 << 15))  # type: ignore[union-attr]

    def _is_held(self) -> bool:
        if self._held is None:
            self.before_flush()
        return self._held is not None

    def _flushSendBIO(self) -> None:
        if not self._is_held():
            super()._flushSendBIO()

    def _flushReceiveBIO(self) -> None:
        if not self._is_held():
            super()._flushReceiveBIO()
