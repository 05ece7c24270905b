"""The phases of a TLS connection, and the deadline of each.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from homing.shared.deadlines import Clock, Deadline


class Phase(Enum):
    """What a connection is doing."""

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
    """Calls `abort` when a connection is in a phase for longer than that phase's `seconds`.

    `sends` tells whether bytes are still on their way to the client.
    """

    def __init__(
        self,
        clock: Clock,
        seconds: Mapping[Phase, float],
        *,
        sends: Callable[[], bool],
        abort: Callable[[], None],
    ) -> None:
        self.phase = Phase.HANDSHAKE
        self._clock = clock
        self._seconds = seconds
        self._sends = sends
        self._abort = abort
        self._deadline: Deadline | None = None
        self._start()

    def happened(self, event: ConnectionEvent) -> None:
        """Take note of `event`; a new phase starts its own deadline."""
        before, self.phase = self.phase, NEXT[self.phase, event]
        if self.phase is not before or event is ConnectionEvent.LATE_SENDING:
            self._start()

    def _start(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self.phase in self._seconds:
            self._deadline = Deadline(self._clock, self._seconds[self.phase], self._late)

    def _late(self) -> None:
        self._deadline = None
        self.happened(ConnectionEvent.LATE_SENDING if self._sends() else ConnectionEvent.LATE)
        if self.phase is Phase.OVER:
            self._abort()
