"""The child's side of a supervised process: says when it is ready, ends when its parent does."""

from __future__ import annotations

import os
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


class Reactor(IReactorCore, IReactorFDSet):
    """What a supervised process needs of the reactor."""


@implementer(IReadDescriptor)
class Supervised(Service):
    """Stops the process when standard input ends, as it does when the parent dies, even by -9.

    `flush` has the log so far written: the parent shall have read it when it hears of us.
    """

    def __init__(self, reactor: Reactor, flush: Callable[[], None]) -> None:
        self._reactor = reactor
        self._flush = flush

    def startService(self) -> None:
        super().startService()
        os.set_blocking(_STDIN, False)
        os.set_inheritable(LOCK_DESCRIPTOR, False)  # what an application starts has no part in it
        self._reactor.addReader(self)

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
        """The parent has closed its end, or died; or the process ends anyway."""
        if self.running:
            with suppress(ReactorNotRunning):  # a signal came at the same moment
                self._reactor.stop()

    def fileno(self) -> int:
        return _STDIN

    def logPrefix(self) -> str:
        return "supervised"
