"""Bodies of answers, as much of them as there may be."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from homing.shared.registry.interface import RegistryError, Unavailable

LARGEST = 16 << 20
"""Bytes of an answer, or of a message in a stream, at most."""


class TooLarge(RegistryError):
    """What was asked for is more than may be read at once."""


class Body(Protocol):
    """All of a body: `ended` fires with it when all has come, or fails with a RegistryError."""

    def __init__(self) -> None:
        self.ended: Deferred[bytes] = Deferred(lambda _: self._close())
        self._parts: list[bytes] = []
        self._size = 0

    def end(self, error: RegistryError) -> None:
        """Read no more."""
        if not self.ended.called:
            self.ended.errback(error)
        self._close()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.ended.called:
            return
        self._size += len(data)
        if self._size > LARGEST:
            self.end(TooLarge(f"its answer has more than {LARGEST} bytes"))
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.ended.called:
            return
        if reason.check(ResponseDone):
            self.ended.callback(b"".join(self._parts))
        else:
            self.ended.errback(Unavailable("the connection was lost in the middle of its answer"))


class Lines(Body):
    """Calls `line` with every line of a body; a RegistryError that it raises ends the reading."""

    def __init__(self, line: Callable[[bytes], None]) -> None:
        super().__init__()
        self._line = line

    def dataReceived(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            super().dataReceived(piece)
            self._deliver()
        super().dataReceived(rest)

    def _deliver(self) -> None:
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        if line and not self.ended.called:
            try:
                self._line(line)
            except RegistryError as error:
                self.end(error)
