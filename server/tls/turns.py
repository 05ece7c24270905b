"""Turns of the reactor: what the application does within one is sent at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.server.tls.descriptor import SocketDescriptor

_log = Logger()


class TurnTaking(SocketDescriptor):
    """A connection that is worked on in turns, by itself where the reactor has nothing to tell."""

    def __init__(self, *whatever: Any) -> None:
        super().__init__(*whatever)
        self._is_busy = False
        """Whether a turn is under way, at whose end is sent what was written meanwhile."""
        self._has_work = False
        """Whether there is something to write, or to end."""
        self._reads_on = False
        """Whether there is more to read that has left the socket."""
        self._is_behind = False
        """Whether there may be more in memory than was read, where TLS is in memory."""
        self._is_aborted = False
        self._next: IDelayedCall | None = None

    def is_flushed(self) -> bool:
        """Called after OpenSSL may have written; whether that has reached the socket."""
        return True

    def _write_on(self) -> Exception | None:
        """Called to write what there is; why it is over, if so."""

    def _turn(self, step: Callable[[], Exception | None]) -> Exception | None:
        """Take a step, with what it has the application do; whose faults end its connection."""
        if self.disconnected or self._is_aborted:
            return None
        self._is_busy = True
        try:
            why = step()
            if not self.is_flushed():
                self.wait_for_room()
            return why
        except Exception as error:
            _log.failure("the application failed for a connection")
            return error
        finally:
            self._is_busy = False

    def startWriting(self) -> None:
        """Write at the end of this turn, or in the next one."""
        self._has_work = True
        if not self._is_busy:
            self._later()

    def _later(self) -> None:
        if self._next is None:
            self._next = self.reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._next = None
        reads_on, self._reads_on = self._reads_on, False
        why = self.doRead() if reads_on else self._write_on()
        if why is not None:
            self.connectionLost(Failure(why))

    def take_no_turn(self) -> None:
        """Have no turn any more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def abortConnection(self) -> None:
        """Reset the connection; what is buffered is dropped."""
        if not self.disconnected and not self._is_aborted:
            self._is_aborted = True
            self.disconnecting = 1
            self.stopReading()
            self.stopWriting()
            self.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))
