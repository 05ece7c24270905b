"""The phases of a TLS connection, and the deadline of each.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from homing.server.tls.common_deadline import CommonDeadline


class Phase(Enum):
    """What a connection is doing."""

    __hash__ = object.__hash__  # they are looked up often; Enum's is slow

    HANDSHAKE = auto()
    OPEN = auto()
    CLOSING = auto()
    """We have closed it; what is buffered is still sent."""
    PEER_CLOSED = auto()
    """The client has sent close_notify, we have not closed."""
    OVER = auto()
    """It was aborted or lost."""


class ConnectionEvent(Enum):
    """What may happen to a connection."""

    __hash__ = object.__hash__

    HANDSHAKE_DONE = auto()
    CLOSE = auto()
    PEER_CLOSE = auto()
    LATE = auto()
    """Its deadline has passed."""
    LATE_SENDING = auto()
    """Its deadline has passed, but bytes are still on their way to the client."""
    LOST = auto()


_HANDSHAKE, _OPEN, _CLOSING, _PEER_CLOSED, _OVER = Phase
# fmt: off
NEXT: Mapping[tuple[Phase, ConnectionEvent], Phase] = {
    (phase, event): then
    for phase, *row in (
        # Phase        HANDSHAKE_DONE CLOSE     PEER_CLOSE    LATE   LATE_SENDING LOST
        (_HANDSHAKE,   _OPEN,         _CLOSING, _HANDSHAKE,   _OVER, _OVER,       _OVER),
        (_OPEN,        _OPEN,         _CLOSING, _PEER_CLOSED, _OPEN, _OPEN,       _OVER),
        (_CLOSING,     _CLOSING,      _CLOSING, _CLOSING,     _OVER, _CLOSING,    _OVER),
        (_PEER_CLOSED, _PEER_CLOSED,  _CLOSING, _PEER_CLOSED, _OVER, _OVER,       _OVER),
        (_OVER,        _OVER,         _OVER,    _OVER,        _OVER, _OVER,       _OVER),
    )
    for event, then in zip(ConnectionEvent, row, strict=True)
}
# fmt: on
"""An open connection has no deadline.  A close_notify within the handshake gives no more time.  A
connection that we have closed gets more time as long as its client reads; if the client reads
nothing for `STALL_TIMEOUT`, the kernel ends it."""


class ConnectionDeadlines:
    """Calls `abort` when a connection is in a phase for longer than `limits` has for that phase.

    `sends` tells whether bytes are still on their way to the client.
    """

    def __init__(
        self,
        limits: Mapping[Phase, CommonDeadline],
        *,
        sends: Callable[[], bool],
        abort: Callable[[], None],
    ) -> None:
        self.phase = Phase.HANDSHAKE
        self._limits = limits
        self._sends: Callable[[], bool] | None = sends
        self._abort: Callable[[], None] | None = abort
        self._begin()

    def happened(self, event: ConnectionEvent) -> None:
        """Take note of `event`; a new phase starts its own deadline."""
        before, self.phase = self.phase, NEXT[self.phase, event]
        if self.phase is not before or event is ConnectionEvent.LATE_SENDING:
            if limit := self._limits.get(before):
                limit.end(self)
            self._begin()

    def _begin(self) -> None:
        if limit := self._limits.get(self.phase):
            limit.begin(self)
        elif self.phase is Phase.OVER:
            self._sends = self._abort = None  # they hold the connection

    def late(self) -> None:
        """Called when the time for the phase is over."""
        assert self._sends is not None
        abort = self._abort
        assert abort is not None
        self.happened(ConnectionEvent.LATE_SENDING if self._sends() else ConnectionEvent.LATE)
        if self.phase is Phase.OVER:
            abort()
