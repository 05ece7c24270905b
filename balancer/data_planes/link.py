"""The balancer's end of the hand-off link to one server (`shared/handoff.py`)."""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.link_state import TRANSITIONS, WORDS, Event, State
from homing.shared.deadlines import Deadline
from homing.shared.handoff import (
    CONNECTION,
    GREETING_LENGTH,
    PEER_CREDENTIALS,
    read_greeting,
)

if TYPE_CHECKING:
    from homing.balancer.data_planes.handoff import HandOff

ANSWER_TIMEOUT = 2.0
"""Seconds within which a server must take a connection; then it is down and others get it."""

MOST_UNANSWERED = 128
"""Hand-overs under way: enough to keep a server at work, and they fit into the socket's buffer."""


class Link(Protocol):
    """Passes connections over and takes the answers."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, plane: HandOff) -> None:
        self._clock = clock
        self._plane = plane
        self._state = State.GREETING
        self._greeting = b""
        self._unanswered: deque[tuple[ClientConnection, float]] = deque()
        self._last_answer = 0.0
        self._deadline: Deadline | None = None
        self._all_answered: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        raw = self._socket().getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size
        )
        pid, uid, _ = PEER_CREDENTIALS.unpack(raw)
        if uid == os.geteuid():
            self._watch(ANSWER_TIMEOUT)
        else:
            self._plane.stranger(pid, uid)
            self._happens(Event.STRANGER)

    def send(self, client: ClientConnection) -> bool:
        """Pass a connection over; whether it is on its way.  If not, the server is busy."""
        if self._state is not State.OPEN or len(self._unanswered) >= MOST_UNANSWERED:
            return False
        try:
            socket.send_fds(self._socket(), [CONNECTION], [client.socket.fileno()])
        except OSError:  # if more than that is wrong, the end of the link follows
            return False
        self._unanswered.append((client, self._clock.seconds()))
        if self._deadline is None:
            self._watch(ANSWER_TIMEOUT)
        return True

    @property
    def on_their_way(self) -> int:
        """Connections that the server has not answered for yet."""
        return len(self._unanswered)

    def all_answered(self) -> Deferred[None]:
        """Fires when the server has answered for every connection that was passed over."""
        if not self._unanswered:
            return defer.succeed(None)
        return self._all_answered

    def dataReceived(self, data: bytes) -> None:
        if self._state is State.GREETING:
            data = self._read_greeting(data)
        if self._state in (State.GREETING, State.OVER):
            return
        self._last_answer = self._clock.seconds()
        for at in range(len(data)):
            if not self._hear(data[at : at + 1]):
                return
        if not self._unanswered:
            done, self._all_answered = self._all_answered, Deferred()
            done.callback(None)
        if self._state is State.OPEN:
            self._plane.answered()

    def _read_greeting(self, data: bytes) -> bytes:
        """Take the greeting; what comes after it."""
        missing = GREETING_LENGTH - len(self._greeting)
        self._greeting += data[:missing]
        if len(self._greeting) == GREETING_LENGTH:
            try:
                active = read_greeting(self._greeting)
            except ValueError as error:
                self._log.error("{name}: {error}", name=self._plane.name, error=error)
                self._happens(Event.NONSENSE)
            else:
                self._happens(Event.GREETED)
                self._plane.greeted(self, active)
        return data[missing:]

    def _hear(self, word: bytes) -> bool:
        """The server says a word; whether it makes sense."""
        event = WORDS.get(word, Event.NONSENSE)
        if event is Event.ENDED:
            self._plane.ended()
        elif event is Event.NONSENSE or not self._unanswered:
            self._log.error("{name} says {word!r}", name=self._plane.name, word=word)
            event = Event.NONSENSE
        elif event is Event.ACCEPTED:
            self._unanswered.popleft()[0].release()
            self._plane.accepted()
        else:
            self._plane.refused(self._unanswered.popleft()[0])
        self._happens(event)
        return event is not Event.NONSENSE

    def _happens(self, event: Event) -> None:
        """Go to the state that follows, and do what it begins with."""
        before, self._state = self._state, TRANSITIONS[self._state][event]
        if self._state is before:
            return
        if self._state is State.ENDING:
            self._read_to_the_end()
        elif self._state is State.OVER:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def _watch(self, seconds: float) -> None:
        self._deadline = Deadline(self._clock, seconds, self._judge)

    def _judge(self) -> None:
        """End the link when the server has neither greeted nor answered in time."""
        self._deadline = None
        if self._state is State.OPEN:
            if not self._unanswered:
                return
            # A queue may take longer than one answer may: what counts is that it moves
            since = max(self._unanswered[0][1], self._last_answer)
            left = ANSWER_TIMEOUT - (self._clock.seconds() - since)
            if left > 0:
                self._watch(min(ANSWER_TIMEOUT, max(left, ANSWER_TIMEOUT / 4)))
                return
        self._log.warn(
            "{name} has not answered for {late:.1f} s", name=self._plane.name, late=ANSWER_TIMEOUT
        )
        self._happens(Event.LATE)

    def _read_to_the_end(self) -> None:
        """Have server and balancer agree on who has which connection.

        Once reading is shut down the server can accept no more; what it accepted before is read.
        """
        link = self._socket()
        link.shutdown(socket.SHUT_RD)
        with suppress(OSError):
            while self._state is State.ENDING and (last_words := link.recv(4096)):
                self.dataReceived(last_words)
        self._happens(Event.READ)

    def _socket(self) -> socket.socket:
        link: socket.socket = self.transport.getHandle()  # type: ignore[union-attr]
        return link

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._happens(Event.LOST)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        unanswered = [client for client, _ in self._unanswered]
        self._unanswered.clear()
        self._all_answered.callback(None)
        self._plane.lost(self, unanswered)
