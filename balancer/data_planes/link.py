"""The balancer's end of the link to a server that connections are handed over to."""

from __future__ import annotations

import os
import socket
import typing
from array import array
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.link_state import TRANSITIONS, LinkEvent, LinkState
from homing.balancer.routing import Reason
from homing.shared.deadlines import Deadline
from homing.shared.handoff import (
    ACCEPTED,
    CONNECTION,
    ENDED,
    PEER_CREDENTIALS,
    REFUSED,
    Greeting,
    read_greeting,
)

ANSWER_TIMEOUT = 2.0
"""Seconds within which a server must take a connection; then it is down and others get it."""

MOST_UNANSWERED = 128
"""Hand-overs under way: enough to keep a server at work, and they fit into the socket's buffer."""

ANSWERS_AFTER = 0.005
"""Seconds after which answers are read, many at once: to be woken for each costs more than to
accept and route the connection."""

MANY_UNANSWERED = 32
"""Hand-overs with which the answers are read before that."""

_MOST_WORDS = 4096
_SOCKET, _RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
_ACCEPTED, _REFUSED, _ENDED = ACCEPTED[0], REFUSED[0], ENDED[0]


class LinkedPlane(typing.Protocol):
    """What a link tells the data plane that it belongs to."""

    name: str
    at_server: int
    """Connections that the server has accepted and not ended yet."""

    def greeted(self, link: Link, greeting: Greeting) -> None:
        """The server takes connections."""

    def answered(self) -> None:
        """The server can be given more."""

    def give_back(self, client: ClientConnection, why: Reason) -> None:
        """The server did not take this connection: another one must."""

    def stranger(self, pid: int, uid: int) -> None:
        """Another user's process listens where the server should."""

    def lost(self, link: Link) -> None:
        """The link is over; what is unanswered goes elsewhere."""


class Link(Protocol):
    """The balancer's end of the link to one server: hands connections over, takes the answers.

    While there are any to come the reactor does not watch the link, and they are read by time.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, plane: LinkedPlane) -> None:
        self.unanswered: deque[tuple[ClientConnection, float]] = deque()
        """Connections that the server has not answered for yet, and since when."""
        self._unsent: list[int] = []
        """The descriptors of the last ones, which go in the next message."""
        self._expectant: list[Deferred[None]] = []
        self._clock = clock
        self._plane = plane
        self._state = LinkState.GREETING
        self._greeting = b""
        self._last_answer = 0.0
        self._deadline: Deadline | None = None
        self._sending: IDelayedCall | None = None
        self._hearing: IDelayedCall | None = None
        """When the link is read next; None while the reactor watches it."""

    def connectionMade(self) -> None:
        self._socket: socket.socket = self.transport.getHandle()  # type: ignore[union-attr]
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
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
        self.unanswered.append((client, self._clock.seconds()))
        self._unsent.append(client.socket.fileno())
        if self._sending is None:
            self._sending = self._clock.callLater(0, self._send_all)
        return True

    def _send_all(self) -> None:
        """Hand over, in one message, what has come in one turn of the reactor."""
        self._sending = None
        if self._state is not LinkState.OPEN:
            return
        if self._deadline is None:
            self._watch(ANSWER_TIMEOUT)
        numbers = array("i", self._unsent)
        try:
            self._socket.sendmsg((CONNECTION * len(numbers),), ((_SOCKET, _RIGHTS, numbers),))
        except OSError:  # if it is more than a lack of room, the end of the link follows
            self._sending = self._clock.callLater(ANSWERS_AFTER, self._send_all)
            return
        self._unsent.clear()
        if self._hearing is None:
            self.transport.pauseProducing()  # type: ignore[union-attr]
            self._hearing = self._clock.callLater(ANSWERS_AFTER, self._hear)
        elif len(self.unanswered) >= MANY_UNANSWERED:
            self._read()

    def _hear(self) -> None:
        """Read what has been answered; the reactor does it again where there is nothing to come."""
        self._hearing = None
        said = self._read()
        if self._state is not LinkState.OPEN:
            return
        if said is None or not (said or self.unanswered):
            self.transport.resumeProducing()  # type: ignore[union-attr]
        else:
            self._hearing = self._clock.callLater(ANSWERS_AFTER, self._hear)

    def dataReceived(self, data: bytes) -> None:
        if self._state is LinkState.GREETING:
            data = self._read_greeting(data)
        if self._state in (LinkState.GREETING, LinkState.OVER):
            return
        self._last_answer = self._clock.seconds()
        self._take_answers(data)
        if not self.unanswered:
            self._say_answered()
        if self._state is LinkState.OPEN:
            self._plane.answered()

    def _take_answers(self, words: bytes) -> None:
        """All but nonsense leave the link in the state that it is in."""
        owed = len(self.unanswered) - len(self._unsent)
        for word in words:
            if word == _ENDED:
                self._plane.at_server -= 1
                continue
            owed -= 1
            if word == _ACCEPTED and owed >= 0:
                self.unanswered.popleft()[0].release()
                self._plane.at_server += 1
            elif word == _REFUSED and owed >= 0:
                self._plane.give_back(self.unanswered.popleft()[0], Reason.OWNER_BUSY)
            else:
                said = bytes((word,))
                self._log.error("{name} says {word!r}", name=self._plane.name, word=said)
                self._happens(LinkEvent.NONSENSE)
                return

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
        if self._hearing is not None:
            self._read()
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
        self._socket.shutdown(socket.SHUT_RD)
        while self._state is LinkState.ENDING and self._read():
            pass
        self._happens(LinkEvent.READ)

    def _read(self) -> bytes | None:
        """Take what the server has said, and return it; None when the link is at its end."""
        try:
            words = self._socket.recv(_MOST_WORDS)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        if words:
            self.dataReceived(words)
        return words or None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._happens(LinkEvent.LOST)
        for timer in (self._sending, self._hearing, self._deadline):
            if timer is not None:
                timer.cancel()
        self._sending = self._hearing = self._deadline = None
        self._say_answered()
        self._plane.lost(self)
