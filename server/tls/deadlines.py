"""How long a TLS connection may take for what: its states, and the deadline of each.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from homing.shared.deadlines import Clock, Deadline


class Phase(Enum):
    """Where a connection stands."""

    HANDSHAKE = auto()
    OPEN = auto()
    CLOSING = auto()
    """We have said goodbye."""
    PEER_CLOSED = auto()
    """The client has said goodbye, we have not."""
    OVER = auto()
    """It is aborted, or has ended."""


class Event(Enum):
    """What may happen to a connection; late is one whose deadline has passed."""

    HANDSHAKE_DONE = auto()
    CLOSE = auto()
    PEER_CLOSE = auto()
    LATE = auto()
    LATE_SENDING = auto()
    """Late, and the client still takes what is sent."""
    LOST = auto()


_HANDSHAKE, _OPEN, _CLOSING, _PEER_CLOSED, _OVER = Phase
# fmt: off
NEXT: Mapping[tuple[Phase, Event], Phase] = {
    (phase, event): then
    for phase, *row in (
        # Phase        HANDSHAKE_DONE CLOSE     PEER_CLOSE    LATE   LATE_SENDING LOST
        (_HANDSHAKE,   _OPEN,         _CLOSING, _HANDSHAKE,   _OVER, _OVER,       _OVER),
        (_OPEN,        _OPEN,         _CLOSING, _PEER_CLOSED, _OPEN, _OPEN,       _OVER),
        (_CLOSING,     _CLOSING,      _CLOSING, _CLOSING,     _OVER, _CLOSING,    _OVER),
        (_PEER_CLOSED, _PEER_CLOSED,  _CLOSING, _PEER_CLOSED, _OVER, _OVER,       _OVER),
        (_OVER,        _OVER,         _OVER,    _OVER,        _OVER, _OVER,       _OVER),
    )
    for event, then in zip(Event, row, strict=True)
}
# fmt: on
"""An open connection has no deadline, so it is never late.  A client that says goodbye within its
handshake gets no more time.  One to which we have said goodbye does as long as it reads; one that
reads nothing for `STALL_TIMEOUT` is the kernel's to end."""


class ConnectionDeadlines:
    """Calls `abort` when a connection is in a phase for longer than it has `seconds` for.

    `sends` tells whether the client still takes what is sent.
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

    def happened(self, event: Event) -> None:
        """Take note of `event`; in a new phase the time starts anew."""
        before, self.phase = self.phase, NEXT[self.phase, event]
        if self.phase is not before or event is Event.LATE_SENDING:
            self._start()

    def _start(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self.phase in self._seconds:
            self._deadline = Deadline(self._clock, self._seconds[self.phase], self._late)

    def _late(self) -> None:
        self._deadline = None
        self.happened(Event.LATE_SENDING if self._sends() else Event.LATE)
        if self.phase is Phase.OVER:
            self._abort()
