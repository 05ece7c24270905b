"""The servers behind every balancer: one light process that does no TLS.

    python -m bench.balancing.backend FOLDER SERVERS

Server N listens at FOLDER/sN.sock, for connections that are handed over (`shared/handoff.py`), and
at a port of 127.0.0.1; the ports are printed in one line.  A connection costs the same either way:
it is read, answered and closed.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs

from bench.balancing.hellos import RESPONSE, Order, answer, is_whole
from homing.shared.handoff import ACCEPTED, ENDED

_GREETING = struct.pack("!4sI", b"HOM1", 0)
"""Of a server that tells no digest of its record: it has none."""
_BATCH = 253
"""As many connections as one message may carry: the kernel's SCM_MAX_FD."""
_MEGABYTE = memoryview(bytes(1 << 20))
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


@attrs.define
class Link:
    """A balancer's end to hand connections over to a server."""

    socket: socket.socket
    server: int
    ended: int = 0
    """Connections that are over, of which the balancer is still to be told."""

    def say(self, words: bytes) -> None:
        """Answer the balancer, unless it is gone."""
        with suppress(ConnectionError):
            self.socket.sendall(words)


@attrs.define
class Client:
    """A connection whose hello, or whose reader, is waited for."""

    socket: socket.socket
    server: int
    link: Link | None
    hello: bytes = b""
    left: int = 0
    """Bytes still to send."""
    requests: int = 0
    """How many are still to come."""


class Backend:
    """All servers, and the loop that runs them."""

    def __init__(self, folder: Path, servers: int) -> None:
        self._epoll = select.epoll()
        self._events: dict[int, Callable[[], None]] = {}
        self._links: list[Link] = []
        self.ports: list[int] = []
        for server in range(1, servers + 1):
            tcp = socket.create_server(("127.0.0.1", 0), backlog=4096)
            self.ports.append(tcp.getsockname()[1])
            self._listen(tcp, partial(self._accepted, server))
            unix = socket.socket(socket.AF_UNIX)
            unix.bind(str(folder / f"s{server}.sock"))
            unix.listen()
            self._listen(unix, partial(self._linked, server))

    def run(self) -> None:
        """Serve until somebody ends the process."""
        while True:
            for descriptor, _ in self._epoll.poll():
                if happens := self._events.get(descriptor):
                    happens()
            for link in self._links:
                if link.ended:
                    link.say(ENDED * link.ended)
                    link.ended = 0

    def _watch(self, one: socket.socket, events: int, happens: Callable[[], None]) -> None:
        self._epoll.register(one, events)
        self._events[one.fileno()] = happens

    def _close(self, one: socket.socket) -> None:
        self._events.pop(one.fileno(), None)
        one.close()

    def _listen(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        listener.setblocking(False)

        def accept() -> None:
            with suppress(OSError):
                for _ in range(_BATCH):
                    take(listener.accept()[0])

        self._watch(listener, select.EPOLLIN, accept)

    def _accepted(self, server: int, one: socket.socket) -> None:
        self._take(Client(one, server, None))

    def _linked(self, server: int, one: socket.socket) -> None:
        link = Link(one, server)
        one.setblocking(False)  # not by recv_fds: in Python 3.11 that ignores its flags
        link.say(_GREETING)
        self._links.append(link)
        self._watch(link.socket, select.EPOLLIN, lambda: self._receive(link))

    def _receive(self, link: Link) -> None:
        """Accept what the balancer hands over now, and only then read it."""
        taken: list[int] = []
        is_over = False
        with suppress(BlockingIOError):
            while len(taken) < _BATCH and not is_over:
                data, descriptors, _, _ = socket.recv_fds(link.socket, _BATCH, _BATCH)
                is_over = not data
                taken += descriptors
        link.say(ACCEPTED * len(taken))
        for descriptor in taken:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
            self._take(Client(one, link.server, link))
        if is_over:
            self._links.remove(link)
            self._close(link.socket)

    def _take(self, client: Client) -> None:
        client.socket.setblocking(False)
        if not self._serve(client):
            self._watch(client.socket, _EDGES, lambda: self._go_on(client))

    def _go_on(self, client: Client) -> None:
        if client.left:
            self._send(client)
        else:
            self._serve(client)

    def _serve(self, client: Client) -> bool:
        """Read what the client says and answer it; whether the connection is over."""
        try:
            data = client.socket.recv(1 << 14)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            return self._end(client)
        if client.requests:
            client.requests -= 1
            return self._answer(client, RESPONSE)
        client.hello += data
        if not is_whole(client.hello):
            return False
        order = Order.of(client.hello)
        client.requests, client.left = order.requests, order.megabytes << 20
        _work(order.work)
        return self._answer(client, answer(client.hello, client.server))

    def _answer(self, client: Client, data: bytes) -> bool:
        """Send that; whether the connection is over."""
        with suppress(OSError):
            client.socket.send(data)
        return not client.requests and self._send(client)

    def _send(self, client: Client) -> bool:
        """Send what is left; whether the connection is over."""
        try:
            while client.left:
                client.left -= client.socket.send(_MEGABYTE[: client.left])
        except BlockingIOError:
            return False
        except OSError:
            pass
        return self._end(client)

    def _end(self, client: Client) -> bool:
        with suppress(OSError):  # the balancer may hold its copy for some time
            client.socket.shutdown(socket.SHUT_RDWR)
        self._close(client.socket)
        if client.link is not None:
            client.link.ended += 1
        return True


def _work(microseconds: int) -> None:
    end = time.thread_time() + microseconds / 1e6
    while time.thread_time() < end:
        pass


def main() -> None:
    """Say where, and serve."""
    backend = Backend(Path(sys.argv[1]), int(sys.argv[2]))
    print(*backend.ports, flush=True)
    backend.run()


if __name__ == "__main__":
    main()
