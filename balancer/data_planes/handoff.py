"""Hand-off: the connection itself goes to a server process on this machine (`shared/handoff.py`).

The balancer is then done with it: the server talks to the client directly, sees its true address
and goes on when the balancer is restarted.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from functools import partial

from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.base import Balancing, pauses
from homing.balancer.data_planes.link_state import TRANSITIONS, WORDS, LinkEvent, LinkState
from homing.balancer.routing import Reason
from homing.shared.deadlines import Deadline
from homing.shared.handoff import CONNECTION, PEER_CREDENTIALS, Greeting, read_greeting
from homing.shared.rarely import Rarely

ANSWER_TIMEOUT = 2.0
"""Seconds within which a server must take a connection; then it is down and others get it."""

MOST_UNANSWERED = 128
"""Hand-overs under way: enough to keep a server at work, and they fit into the socket's buffer."""


class HandOffReactor(IReactorTime, IReactorUNIX):
    """What hand-off needs of the reactor."""


class HandOff:
    """Data plane to the server that listens at the UNIX socket `path`."""

    _log = Logger()

    def __init__(self, reactor: HandOffReactor, name: str, path: str, balancing: Balancing) -> None:
        self.name = name
        self.up = False
        self.at_server = 0
        """Connections that the server has accepted and not ended yet."""
        self._path = path
        self._reactor = reactor
        self._balancing = balancing
        self._link: Link | None = None
        self._stopping = False
        self._stranger = (0, 0)
        self._strangers = Rarely(self._say_stranger)
        links = Factory.forProtocol(partial(Link, reactor, self))
        links.noisy = False
        self._service = ClientService(
            UNIXClientEndpoint(reactor, path), links, retryPolicy=pauses, clock=reactor
        )

    @property
    def active(self) -> int:
        return self.at_server + (len(self._link.unanswered) if self._link else 0)

    def start(self) -> None:
        self._service.startService()

    def take(self, client: ClientConnection) -> bool:
        return self.up and self._link is not None and self._link.send(client)

    def greeted(self, link: Link, greeting: Greeting) -> None:
        """The server takes connections."""
        if self._stopping:
            return
        self._link, self.at_server, self.up = link, greeting.active, True
        self._balancing.told(self.name, greeting.digest)
        self._balancing.changed()

    def answered(self) -> None:
        """The server can be given more."""
        self._balancing.free(self.name)

    def give_back(self, client: ClientConnection, why: Reason) -> None:
        """The server did not take this connection: another one must."""
        self._balancing.give_back(client, self.name, why)

    def stranger(self, pid: int, uid: int) -> None:
        """Another user's process listens where the server should."""
        self._stranger = pid, uid
        self._strangers.happened()

    def _say_stranger(self, count: int) -> None:
        pid, uid = self._stranger
        self._log.error(
            "{name}: process {pid} of user {uid} listens at {path} and gets no clients, as it is "
            "not ours: end it, and see who may write to that folder",
            name=self.name,
            pid=pid,
            uid=uid,
            path=self._path,
        )

    def lost(self, link: Link) -> None:
        """A link is over; what the server did not take goes elsewhere."""
        if link is self._link:
            self._link, self.up = None, False
            if not self._stopping:
                self._balancing.changed()
        unanswered = [client for client, _ in link.unanswered]
        link.unanswered.clear()
        if unanswered:
            self._log.warn(
                "{count} connections on their way to {name} go elsewhere",
                name=self.name,
                count=len(unanswered),
            )
        for client in unanswered:
            self.give_back(client, Reason.OWNER_DOWN)

    def stop(self, grace: float | None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop(grace))

    async def _stop(self, grace: float | None) -> None:
        self._stopping, self.up = True, False
        if self._link is not None and self._link.unanswered:
            answered = self._link.all_answered()
            if grace is not None:
                answered.addTimeout(grace, self._reactor)
            with suppress(defer.TimeoutError):
                await answered
        await self._service.stopService()


class Link(Protocol):
    """The balancer's end of the link to one server: hands connections over, takes the answers."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, plane: HandOff) -> None:
        self.unanswered: deque[tuple[ClientConnection, float]] = deque()
        """Connections that the server has not answered for yet, and since when."""
        self._expectant: list[Deferred[None]] = []
        self._clock = clock
        self._plane = plane
        self._state = LinkState.GREETING
        self._greeting = b""
        self._last_answer = 0.0
        self._deadline: Deadline | None = None

    def connectionMade(self) -> None:
        raw = self._socket().getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size
        )
        pid, uid, _ = PEER_CREDENTIALS.unpack(raw)
        if uid == os.geteuid():
            self._watch(ANSWER_TIMEOUT)
        else:
            self._plane.stranger(pid, uid)
            self._happens(LinkEvent.STRANGER)

    def send(self, client: ClientConnection) -> bool:
        """Hand a connection over; whether it is on its way.  If not, the server is busy."""
        if self._state is not LinkState.OPEN or len(self.unanswered) >= MOST_UNANSWERED:
            return False
        try:
            socket.send_fds(self._socket(), [CONNECTION], [client.socket.fileno()])
        except OSError:  # if more than that is wrong, the end of the link follows
            return False
        self.unanswered.append((client, self._clock.seconds()))
        if self._deadline is None:
            self._watch(ANSWER_TIMEOUT)
        return True

    def dataReceived(self, data: bytes) -> None:
        if self._state is LinkState.GREETING:
            data = self._read_greeting(data)
        if self._state in (LinkState.GREETING, LinkState.OVER):
            return
        self._last_answer = self._clock.seconds()
        for at in range(len(data)):
            if not self._hear(data[at : at + 1]):
                return
        if not self.unanswered:
            self._say_answered()
        if self._state is LinkState.OPEN:
            self._plane.answered()

    def all_answered(self) -> Deferred[None]:
        """Fires when `unanswered` becomes empty."""
        expectant: Deferred[None] = Deferred()
        self._expectant.append(expectant)
        return expectant

    def _say_answered(self) -> None:
        expectant, self._expectant = self._expectant, []
        for one in expectant:
            one.callback(None)

    def _read_greeting(self, data: bytes) -> bytes:
        """Take the greeting; what comes after it."""
        self._greeting += data
        try:
            read = read_greeting(self._greeting)
        except ValueError as error:
            self._log.error("{name}: {error}", name=self._plane.name, error=error)
            self._happens(LinkEvent.NONSENSE)
            return b""
        if read is None:
            return b""
        self._greeting = b""
        self._happens(LinkEvent.GREETED)
        self._plane.greeted(self, read[0])
        return read[1]

    def _hear(self, word: bytes) -> bool:
        """The server says a word; whether it makes sense."""
        event = WORDS.get(word, LinkEvent.NONSENSE)
        if event is LinkEvent.ENDED:
            self._plane.at_server -= 1
        elif event is LinkEvent.NONSENSE or not self.unanswered:
            self._log.error("{name} says {word!r}", name=self._plane.name, word=word)
            event = LinkEvent.NONSENSE
        elif event is LinkEvent.ACCEPTED:
            self.unanswered.popleft()[0].release()
            self._plane.at_server += 1
        else:
            self._plane.give_back(self.unanswered.popleft()[0], Reason.OWNER_BUSY)
        self._happens(event)
        return event is not LinkEvent.NONSENSE

    def _happens(self, event: LinkEvent) -> None:
        """Go to the state that follows, and do what it begins with."""
        before, self._state = self._state, TRANSITIONS[self._state][event]
        if self._state is before:
            return
        if self._state is LinkState.ENDING:
            self._read_to_the_end()
        elif self._state is LinkState.OVER:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def _watch(self, seconds: float) -> None:
        self._deadline = Deadline(self._clock, seconds, self._judge)

    def _judge(self) -> None:
        """End the link when the server has neither greeted nor answered in time."""
        self._deadline = None
        if self._state is LinkState.OPEN:
            if not self.unanswered:
                return
            # A queue may take longer than one answer may: what counts is that it moves
            since = max(self.unanswered[0][1], self._last_answer)
            left = ANSWER_TIMEOUT - (self._clock.seconds() - since)
            if left > 0:
                self._watch(min(ANSWER_TIMEOUT, max(left, ANSWER_TIMEOUT / 4)))
                return
        self._log.warn(
            "{name} has not answered for {late:.1f} s", name=self._plane.name, late=ANSWER_TIMEOUT
        )
        self._happens(LinkEvent.LATE)

    def _read_to_the_end(self) -> None:
        """Have server and balancer agree on who has which connection.

        Once reading is shut down the server can accept no more; what it accepted before is read.
        """
        link = self._socket()
        link.shutdown(socket.SHUT_RD)
        with suppress(OSError):
            while self._state is LinkState.ENDING and (last_words := link.recv(4096)):
                self.dataReceived(last_words)
        self._happens(LinkEvent.READ)

    def _socket(self) -> socket.socket:
        link: socket.socket = self.transport.getHandle()  # type: ignore[union-attr]
        return link

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._happens(LinkEvent.LOST)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._say_answered()
        self._plane.lost(self)
