"""Hand-off: the connection itself goes to a server process on this machine (`shared.handoff`).

The balancer is then done with it: the server talks to the client directly, sees its true address
and goes on when the balancer is restarted.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from contextlib import suppress

from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.arrival import Arrival
from balancer.data_plane import Balancing, pauses
from shared.handoff import ACCEPTED, CONNECTION, ENDED, GREETING_LENGTH, REFUSED, read_greeting
from shared.rarely import Rarely

ANSWER_TIMEOUT = 2.0
"""Seconds within which a server must take a connection; then it is down and others get it."""

_MOST_UNANSWERED = 128
"""As many answers fit into the socket's buffer while the balancer is busy."""

_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Reactor(IReactorTime, IReactorUNIX):
    """What hand-off needs of the reactor."""


class HandOff:
    """Data plane to the server that listens at the UNIX socket `path`."""

    log = Logger()

    def __init__(self, reactor: Reactor, name: str, path: str, balancing: Balancing) -> None:
        self.name = name
        self._path = path
        self.up = False
        self.accepted = 0
        self.reactor = reactor
        self.balancing = balancing
        self._link: Link | None = None
        self._stranger = (0, 0)
        self._strangers = Rarely(self._say_stranger)
        self._service = ClientService(
            UNIXClientEndpoint(reactor, path),
            LinkFactory(self),
            retryPolicy=pauses,
            clock=reactor,
        )

    @property
    def active(self) -> int:
        return self.accepted + (self._link.on_their_way if self._link else 0)

    def start(self) -> None:
        self._service.startService()

    def take(self, arrival: Arrival) -> None:
        if self._link is None or not self._link.send(arrival):
            arrival.tried.add(self.name)
            self.balancing.give_back(arrival)

    def greeted(self, link: Link, active: int) -> None:
        """The server is there and takes connections."""
        self._link, self.accepted, self.up = link, active, True
        self.log.info("{name} is up, with {active} connections", name=self.name, active=active)
        self.balancing.changed()

    def refused(self, pid: int, uid: int) -> None:
        """Another user's process listens where the server should, and gets no clients."""
        self._stranger = pid, uid
        self._strangers.happened()

    def _say_stranger(self, count: int) -> None:
        pid, uid = self._stranger
        self.log.error(
            "{name}: process {pid} of user {uid} listens at {path} and gets no clients, as it is "
            "not ours: end it, and see who may write to that folder",
            name=self.name,
            pid=pid,
            uid=uid,
            path=self._path,
        )

    def lost(self, link: Link, unanswered: list[Arrival]) -> None:
        """A link is over; what the server did not take goes elsewhere."""
        if link is self._link:
            self._link, self.up = None, False
            self.log.warn(
                "{name} is down; {count} connections on their way go elsewhere",
                name=self.name,
                count=len(unanswered),
            )
            self.balancing.changed()
        for arrival in unanswered:
            arrival.tried.add(self.name)
            self.balancing.give_back(arrival)

    def stop(self, grace: float) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop(grace))

    async def _stop(self, grace: float) -> None:
        link, self._link, self.up = self._link, None, False
        if link:
            with suppress(defer.TimeoutError):
                await link.answered().addTimeout(grace, self.reactor)
        await self._service.stopService()


class Link(Protocol):
    """The balancer's end of the link to one server."""

    def __init__(self, plane: HandOff) -> None:
        self._plane = plane
        self._greeting: bytes | None = b""
        self._unanswered: deque[tuple[Arrival, float]] = deque()
        self._last_answer = 0.0
        self._timer: IDelayedCall | None = None
        self._all_answered: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        raw = self._socket().getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
        )
        pid, uid, _ = _PEER_CREDENTIALS.unpack(raw)
        if uid != os.geteuid():
            self._plane.refused(pid, uid)
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        self._timer = self._plane.reactor.callLater(ANSWER_TIMEOUT, self._check)

    def send(self, arrival: Arrival) -> bool:
        """Pass a connection over; whether it is on its way."""
        if len(self._unanswered) >= _MOST_UNANSWERED:
            return False
        try:
            socket.send_fds(self._socket(), [CONNECTION], [arrival.socket.fileno()])
        except OSError:
            return False
        self._unanswered.append((arrival, self._plane.reactor.seconds()))
        if self._timer is None:
            self._timer = self._plane.reactor.callLater(ANSWER_TIMEOUT, self._check)
        return True

    @property
    def on_their_way(self) -> int:
        """Connections that the server has not answered for yet."""
        return len(self._unanswered)

    def answered(self) -> Deferred[None]:
        """Fires when the server has answered for every connection that was passed over."""
        if not self._unanswered:
            return defer.succeed(None)
        return self._all_answered

    def dataReceived(self, data: bytes) -> None:
        if self._greeting is not None:
            self._greeting += data[: GREETING_LENGTH - len(self._greeting)]
            if len(self._greeting) < GREETING_LENGTH:
                return
            data = data[GREETING_LENGTH:]
            if not self._greet(self._greeting):
                return
        for at in range(len(data)):
            if not self._answer(data[at : at + 1]):
                break
        self._last_answer = self._plane.reactor.seconds()
        if not self._unanswered:
            done, self._all_answered = self._all_answered, Deferred()
            done.callback(None)

    def _greet(self, greeting: bytes) -> bool:
        self._greeting = None
        try:
            active = read_greeting(greeting)
        except ValueError as error:
            self._plane.log.error("{name}: {error}", name=self._plane.name, error=error)
            self.transport.abortConnection()  # type: ignore[union-attr]
            return False
        self._plane.greeted(self, active)
        return True

    def _answer(self, word: bytes) -> bool:
        """Take one word of the server; whether it made sense."""
        if word == ENDED:
            self._plane.accepted -= 1
        elif word == ACCEPTED and self._unanswered:
            self._unanswered.popleft()[0].release()
            self._plane.accepted += 1
        elif word == REFUSED and self._unanswered:
            arrival, _ = self._unanswered.popleft()
            arrival.tried.add(self._plane.name)
            self._plane.balancing.give_back(arrival)
        else:
            self._plane.log.error("{name} says {word!r}", name=self._plane.name, word=word)
            self.transport.abortConnection()  # type: ignore[union-attr]
            return False
        return True

    def _check(self) -> None:
        """End the link when the server has neither greeted nor answered in time."""
        self._timer = None
        waits_since = self._unanswered[0][1] if self._unanswered else None
        late = ANSWER_TIMEOUT
        if waits_since is not None:
            # A queue may take longer than one answer may: what counts is that it moves
            late = self._plane.reactor.seconds() - max(waits_since, self._last_answer)
        elif self._greeting is None:
            return
        if late < ANSWER_TIMEOUT:
            self._timer = self._plane.reactor.callLater(ANSWER_TIMEOUT - late, self._check)
            return
        self._plane.log.warn(
            "{name} has not answered for {late:.1f} s", name=self._plane.name, late=late
        )
        self._hang_up()

    def _hang_up(self) -> None:
        """End the link such that server and balancer agree on who has which connection.

        Once reading is shut down the server can accept no more; what it accepted before is read.
        """
        link = self._socket()
        link.shutdown(socket.SHUT_RD)
        while True:
            try:
                last_words = link.recv(4096)
            except OSError:
                break
            if not last_words:
                break
            self.dataReceived(last_words)
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _socket(self) -> socket.socket:
        link: socket.socket = self.transport.getHandle()  # type: ignore[union-attr]
        return link

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        unanswered = [arrival for arrival, _ in self._unanswered]
        self._unanswered.clear()
        self._all_answered.callback(None)
        self._plane.lost(self, unanswered)


class LinkFactory(Factory):
    """Makes the links of one data plane."""

    noisy = False

    def __init__(self, plane: HandOff) -> None:
        self._plane = plane

    def buildProtocol(self, addr: IAddress | None) -> Link:
        return Link(self._plane)
