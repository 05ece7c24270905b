"""The child's side of a supervised process: says when it is ready, ends when its parent does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.farm.processes.inherited import (
    LOCK_DESCRIPTOR,
    READY,
    READY_DESCRIPTOR,
    RETIRE,
    RETIRED,
)

_STDIN = 0


class SupervisedReactor(IReactorCore, IReactorFDSet):
    """What a supervised process needs of the reactor."""


def stop(reactor: IReactorCore) -> None:
    """Stop `reactor`, unless a signal has just done so."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal, but the parent decides when we end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@implementer(IReadDescriptor)
class Supervised(Service):
    """Stops the process when its standard input ends: the parent has closed it, or was killed.

    `flush` writes the log so far, so that the parent has read it when it hears that we are ready.
    `retire` is called with seconds when the parent has another process in our place.
    """

    def __init__(self, reactor: SupervisedReactor, flush: Callable[[], None]) -> None:
        self._reactor = reactor
        self._flush = flush
        self.retire: Callable[[float], None] = lambda grace: None
        self._said = b""

    def startService(self) -> None:
        super().startService()
        os.set_blocking(_STDIN, False)
        for ours in (LOCK_DESCRIPTOR, READY_DESCRIPTOR):
            os.set_inheritable(ours, False)  # processes that the application starts get neither
        self._reactor.addReader(self)
        self._reactor.callWhenRunning(_ignore_interrupts)

    def ready(self) -> None:
        """Tell the parent that we take connections."""
        self._tell(READY)

    def retired(self) -> None:
        """Tell the parent that we take no more."""
        self._tell(RETIRED)

    def _tell(self, word: bytes) -> None:
        self._flush()
        with suppress(BrokenPipeError):  # the parent is gone, and so are we soon
            os.write(READY_DESCRIPTOR, b"%s\n" % word)

    def doRead(self) -> None:
        said = os.read(_STDIN, 1024)
        if not said:
            self._reactor.removeReader(self)
            self.connectionLost()
            return
        *lines, self._said = (self._said + said).split(b"\n")
        for line in lines:
            word, _, seconds = line.partition(b" ")
            if word == RETIRE and seconds.isdigit():
                self.retire(float(seconds))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The parent is gone, or the reactor stops and disconnects everything."""
        if self.running:
            stop(self._reactor)

    def fileno(self) -> int:
        return _STDIN

    def logPrefix(self) -> str:
        return "supervised"
