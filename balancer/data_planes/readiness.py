"""Tells who can go on: an edge-triggered epoll of our own, which Twisted's reactor watches.

A socket is registered once, and closing it takes it away.  Twisted's reactor asks epoll_ctl anew
for each pause, and calls each event within a log context; all clients of one turn share that here.
"""

from __future__ import annotations

import select
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

READING = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
BOTH = READING | select.EPOLLOUT

_EVENTS_AT_ONCE = 16
_TURN = 0.005
"""Seconds after which others have their turn: new connections, for one."""


class ReadinessReactor(IReactorFDSet, IReactorTime):
    """What is needed of the reactor."""


class Waiting(Protocol):
    """Waits for its descriptors."""

    def woken(self, fd: int, events: int) -> None:
        """`fd` may be ready for these events, and if not, no harm must be done.

        The event may be that of a descriptor that had the same number before.
        """

    def go_on(self) -> None:
        """There is time again."""

    def abort(self) -> None:
        """It has failed: end it."""


@implementer(IReadDescriptor)
class Readiness:
    """Wakes those who `watch`; an exception of one ends it and reaches no other."""

    _log = Logger()

    def __init__(self, reactor: ReadinessReactor) -> None:
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._waiting: dict[int, Waiting] = {}
        self._unfinished: dict[Waiting, None] = {}

    def watch(self, fd: int, who: Waiting, events: int = READING) -> None:
        """Wake `who` when `fd`, which is not watched yet, is ready, and each time it is again.

        Raises OSError when the kernel is out of memory for it.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        self._epoll.register(fd, events)
        self._waiting[fd] = who

    def watch_writing(self, fd: int) -> None:
        """Wake who watches `fd` also when it can be written; at once, if it can."""
        assert self._epoll is not None
        self._epoll.modify(fd, BOTH)

    def pass_to(self, fd: int, who: Waiting) -> None:
        """From now on `who` watches `fd`, and is told again of all that is so."""
        self.watch_writing(fd)
        self._waiting[fd] = who

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed."""
        self._waiting.pop(fd, None)

    def later(self, who: Waiting) -> None:
        """Let `who` go on at the next turn."""
        if not self._unfinished:
            self._reactor.callLater(0, self._go_on)
        self._unfinished[who] = None

    def finished(self, who: Waiting) -> None:
        """`who` has nothing more to do."""
        self._unfinished.pop(who, None)

    def _go_on(self) -> None:
        unfinished, self._unfinished = self._unfinished, {}
        until = self._reactor.seconds() + _TURN
        while unfinished and self._reactor.seconds() < until:
            who = next(iter(unfinished))
            del unfinished[who]
            try:
                who.go_on()
            except Exception:
                self._end(who)
        if unfinished:
            if not self._unfinished:
                self._reactor.callLater(0, self._go_on)
            self._unfinished = unfinished | self._unfinished  # they come first

    def doRead(self) -> None:
        assert self._epoll is not None
        until = self._reactor.seconds() + _TURN
        while self._wake(self._epoll.poll(0, _EVENTS_AT_ONCE)) == _EVENTS_AT_ONCE:
            if self._epoll is None or self._reactor.seconds() >= until:
                return  # the rest is told again

    def _wake(self, ready: list[tuple[int, int]]) -> int:
        """Wake who watches these; how many they are."""
        for fd, events in ready:
            who = self._waiting.get(fd)
            if who is not None:
                try:
                    who.woken(fd, events)
                except Exception:
                    self._end(who)
        return len(ready)

    def _end(self, who: Waiting) -> None:
        self._log.failure("a relayed connection has failed")
        try:
            who.abort()
        except Exception:
            self._log.failure("a relayed connection cannot be ended")

    def close(self) -> None:
        """Watch no more."""
        if self._epoll is not None:
            self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll = None

    def fileno(self) -> int:
        return -1 if self._epoll is None else self._epoll.fileno()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The reactor ends."""

    def logPrefix(self) -> str:
        return "relay"
