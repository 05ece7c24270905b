"""Many clients in one loop, as light as Python allows: the balancer is what is measured."""

from __future__ import annotations

import errno
import select
import socket
from array import array
from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter

import attrs

from bench.balancing.hellos import REQUEST, SERVER_AT

PARALLEL = 64
_PATIENCE = 20.0
"""Seconds without any event after which something is broken."""
_EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


@attrs.define
class Driven:
    """What became of the connections, in the order of their hellos."""

    latencies: array[float]
    """Seconds until the first byte of the answer; below 0 where none came."""
    servers: bytearray
    """The number of the server that answered; 0 where none did."""
    elapsed: float = 0.0
    received: int = 0
    """Bytes, of all connections."""

    @property
    def failed(self) -> int:
        """Connections that were not answered."""
        return self.servers.count(0)


class Clients:
    """Some at a time connect, send a hello, then requests, and read until the server closes."""

    def __init__(self, address: tuple[str, int], wires: Iterable[bytes], requests: int) -> None:
        self._address = address
        self._wires = iter(wires)
        self._requests = requests
        self._epoll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytes] = {}
        self._number: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._buffer = bytearray(1 << 18)
        self.driven = Driven(array("d"), bytearray())

    def run(self, parallel: int) -> Driven:
        """Send all hellos.  Raises SystemExit when nothing answers any more."""
        began = perf_counter()
        for _ in range(parallel):
            self._begin()
        while self._open:
            events = self._epoll.poll(_PATIENCE)
            if not events:
                raise SystemExit(f"nothing answers at {self._address} any more")
            for descriptor, flags in events:
                if self._happens(descriptor, flags):
                    self._open.pop(descriptor).close()
                    self._begin()
        self._epoll.close()
        self.driven.elapsed = perf_counter() - began
        return self.driven

    def _begin(self) -> None:
        wire = next(self._wires, None)
        if wire is None:
            return
        one = socket.socket()
        descriptor = one.fileno()
        self._open[descriptor] = one
        self._left[descriptor] = self._requests
        self._number[descriptor] = len(self.driven.servers)
        self.driven.servers.append(0)
        self.driven.latencies.append(-perf_counter())
        one.setblocking(False)
        failure = one.connect_ex(self._address)
        if failure not in (0, errno.EINPROGRESS):
            raise SystemExit(f"{self._address}: {errno.errorcode[failure]}")
        try:
            one.send(wire)  # on loopback it is connected by now, nearly always
        except BlockingIOError:
            self._unsent[descriptor] = wire
            self._epoll.register(descriptor, _EDGES | select.EPOLLOUT)
        except OSError:
            self._epoll.register(descriptor, _EDGES)  # which says the same again
        else:
            self._epoll.register(descriptor, _EDGES)

    def _happens(self, descriptor: int, flags: int) -> bool:
        """Read what is there; whether the connection is over."""
        one, driven = self._open[descriptor], self.driven
        if self._unsent and (wire := self._unsent.pop(descriptor, None)):
            with suppress(OSError):
                one.send(wire)
        try:
            while count := one.recv_into(self._buffer):
                number = self._number[descriptor]
                if not driven.servers[number]:
                    driven.latencies[number] += perf_counter()
                    driven.servers[number] = self._buffer[SERVER_AT]
                driven.received += count
                if self._left[descriptor]:
                    self._left[descriptor] -= 1
                    one.send(REQUEST)
                if count < len(self._buffer):
                    return bool(flags & select.EPOLLRDHUP)
        except BlockingIOError:
            return bool(flags & (select.EPOLLERR | select.EPOLLHUP))
        except OSError:
            return True
        return True


def drive(
    address: tuple[str, int],
    wires: Iterable[bytes],
    parallel: int = PARALLEL,
    requests: int = 0,
) -> Driven:
    """Have clients send `wires`, each over a connection of its own, `parallel` at a time."""
    return Clients(address, wires, requests).run(parallel)
