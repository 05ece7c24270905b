"""The world around a balancer, in memory: its kernel, its servers and its clients.

Time in the world goes on while the balancer's process stands still; the balancer has a clock of its
own, which may jump.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs
from twisted.internet import error
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure

from homing.shared.fingerprint import DIGEST_LENGTH
from homing.shared.handoff import ACCEPTED, CONNECTION, ENDED, PEER_CREDENTIALS, REFUSED, greeting
from tests.turns import TurningClock

BUFFER = 278
"""One-byte messages that fit into a UNIX socket's buffer (measured)."""

LACK = 0.05
"""How often the kernel has no memory for a message."""


@attrs.define(eq=False)
class Client:
    """A client; also the balancer's socket of its connection, as much of it as is used."""

    number: int
    hello: bytes
    owner: str | None
    """The server that its identifier belongs to."""
    came: float
    pieces: list[tuple[float, int]]
    """When how much of its hello is there."""
    now: Callable[[], float]
    look: Callable[[], None] = lambda: None
    """What a look at it costs."""
    low: int = 1
    served: list[str] = attrs.field(factory=list)
    ended: float | None = None
    """When it was served, or closed without that."""
    open: bool = True
    """Whether the balancer holds it."""

    @property
    def there(self) -> int:
        """Bytes that have come."""
        return max((size for at, size in self.pieces if at <= self.now()), default=0)

    @property
    def finishes(self) -> bool:
        """Whether it sends its whole hello."""
        return self.pieces[-1][1] == len(self.hello)

    @property
    def readable(self) -> bool:
        """What epoll says of it."""
        return self.there >= self.low

    def recv(self, size: int, flags: int) -> bytes:
        assert flags & socket.MSG_PEEK, "the balancer reads what is the server's"
        self.look()
        if not self.there:
            raise BlockingIOError
        return self.hello[: min(size, self.there)]

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert option == socket.SO_RCVLOWAT
        self.low = value

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return b"\1"

    def fileno(self) -> int:
        return self.number

    def shutdown(self, how: int) -> None:
        self._end()

    def close(self) -> None:
        self.open = False

    def serve(self, server: str) -> None:
        """A server has read its hello."""
        if self.ended is None or self.served:
            self.served.append(server)
            self._end()

    def _end(self) -> None:
        if self.ended is None:
            self.ended = self.now()


class LinkEnd:
    """The balancer's end of a link: transport and socket in one."""

    def __init__(self, world: World, server: Server) -> None:
        self._world = world
        self.to_server: deque[Client] = deque()
        self.to_balancer = bytearray()
        self.protocol: Any = None
        self.server: Server | None = server
        self.shut = False
        self.paused = self.aborted = False

    def getHandle(self) -> LinkEnd:
        return self

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return PEER_CREDENTIALS.pack(1, os.geteuid(), 1)

    def sendmsg(
        self, buffers: Sequence[bytes], ancillary: Sequence[tuple[int, int, array[int]]]
    ) -> int:
        if self.server is None:
            raise BrokenPipeError(errno.EPIPE, "the server has gone")
        if len(self.to_server) >= BUFFER:
            raise BlockingIOError(errno.EAGAIN, "its buffer is full")
        if self._world.random.random() < LACK:
            raise OSError(errno.ENOBUFS, "the kernel is short of memory")
        numbers = ancillary[0][2]
        assert buffers[0] == CONNECTION * len(numbers)
        self.to_server += (self._world.clients[number] for number in numbers)
        return len(numbers)

    def shutdown(self, how: int) -> None:
        self.shut = True

    def recv(self, size: int) -> bytes:
        words = bytes(self.to_balancer[:size])
        del self.to_balancer[:size]
        if not words and not self.shut and self.server is not None:
            raise BlockingIOError
        return words

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def abortConnection(self) -> None:
        if self.server is not None and self.server.link is self:
            self.server.link = None
        self.server = None
        self.aborted = True
        self.to_balancer.clear()

    loseConnection = abortConnection


@attrs.define(eq=False)
class Server:
    """A server process that accepts what is handed over, at once unless something ails it."""

    name: str
    now: Callable[[], float]
    link: LinkEnd | None = None
    greets_at: float = 0.0
    dead_until: float = 0.0
    hung: tuple[float, float] = (0.0, 0.0)
    refuses: tuple[float, float] = (0.0, 0.0)
    slow: tuple[float, float] = (0.0, 0.0)

    @property
    def dead(self) -> bool:
        """Whether there is no process."""
        return self.now() < self.dead_until

    def die(self, seconds: float) -> None:
        """The process ends, and starts again in so many seconds."""
        self.dead_until = self.now() + seconds
        self.greets_at = self.dead_until
        if self.link is not None:
            self.link.server = None  # what it has said can still be read
            self.link = None

    def act(self) -> None:
        """Do what can be done now."""
        now, link = self.now(), self.link
        if self.dead or link is None or now < self.greets_at or _within(now, self.hung):
            return
        if not getattr(link, "greeted", False):
            link.greeted = True  # type: ignore[attr-defined]
            link.to_balancer += greeting(0, bytes(DIGEST_LENGTH))
        most = 3 if _within(now, self.slow) else BUFFER
        while link.to_server and most and len(link.to_balancer) < BUFFER:
            most -= 1
            if link.shut:
                self.link = None
                return
            client = link.to_server.popleft()
            if _within(now, self.refuses):
                link.to_balancer += REFUSED
            else:
                link.to_balancer += ACCEPTED + ENDED
                client.serve(self.name)


def _within(now: float, span: tuple[float, float]) -> bool:
    return span[0] <= now < span[1]


class World(TurningClock):
    """Also the balancer's reactor: a turn makes the calls that are due, then reads."""

    def __init__(self, random: Random, names: tuple[str, ...]) -> None:
        super().__init__()
        self.random = random
        self.time = 0.0
        self.servers = {name: Server(name, self.true_time) for name in names}
        self.clients: dict[int, Client] = {}
        self._readers: set[Any] = set()
        self._links: list[LinkEnd] = []

    def true_time(self) -> float:
        """Seconds since the beginning, whatever the balancer's clock says."""
        return self.time

    def pass_by(self, seconds: float) -> None:
        """Time goes by, while the balancer does nothing."""
        self.time += seconds
        for server in self.servers.values():
            server.act()

    def turn(self, seconds: float) -> None:
        """The balancer goes on, so many seconds of its clock later."""
        self.advance(seconds)
        ready = [one for one in self._readers if self._is_readable(one)]
        ready.sort(key=lambda one: one.fileno())
        ready += self._links
        self.random.shuffle(ready)
        for one in ready:
            if isinstance(one, LinkEnd):
                self._read(one)
            elif one in self._readers:
                one.doRead()

    def _is_readable(self, reader: Any) -> bool:
        client = self.clients.get(reader.fileno())
        return client is None or client.readable

    def _read(self, link: LinkEnd) -> None:
        if link.paused and not link.aborted:
            return
        words = bytes(link.to_balancer)
        link.to_balancer.clear()
        if words:
            link.protocol.dataReceived(words)
        if link.server is None and link in self._links:
            self._links.remove(link)
            link.protocol.connectionLost(Failure(error.ConnectionDone()))

    def addReader(self, reader: Any) -> None:
        assert IReadDescriptor.providedBy(reader)
        self._readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self._readers.discard(reader)

    def connectUNIX(self, path: str, factory: Any, timeout: float = 30, checkPID: int = 0) -> None:
        server = self.servers[path]
        if server.dead:
            factory.clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))
            return
        server.link = link = LinkEnd(self, server)
        link.protocol = factory.buildProtocol(None)
        self._links.append(link)
        link.protocol.makeConnection(link)
