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

from homing.farm.processes.inherited import LOCK_DESCRIPTOR, READY_DESCRIPTOR

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
    """

    def __init__(self, reactor: SupervisedReactor, flush: Callable[[], None]) -> None:
        self._reactor = reactor
        self._flush = flush

    def startService(self) -> None:
        super().startService()
        os.set_blocking(_STDIN, False)
        os.set_inheritable(
            LOCK_DESCRIPTOR, False
        )  # processes that the application starts do not get it
        self._reactor.addReader(self)
        self._reactor.callWhenRunning(_ignore_interrupts)

    def ready(self) -> None:
        """Tell the parent."""
        self._flush()
        os.write(READY_DESCRIPTOR, b"ready\n")
        os.close(READY_DESCRIPTOR)

    def doRead(self) -> None:
        if not os.read(_STDIN, 1024):
            self._reactor.removeReader(self)
            self.connectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The parent is gone, or the reactor stops and disconnects everything."""
        if self.running:
            stop(self._reactor)

    def fileno(self) -> int:
        return _STDIN

    def logPrefix(self) -> str:
        return "supervised"
