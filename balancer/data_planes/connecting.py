"""Connects to relayed servers for clients: neither blocking, nor in a thread, nor by name."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import attrs

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.overdue import Overdue
from homing.balancer.data_planes.readiness import BOTH
from homing.balancer.data_planes.traffic import Traffic
from homing.balancer.descriptor_reserve import OUT_OF_RESOURCES

_PENDING = (errno.EINPROGRESS, errno.EALREADY)
_THERE = (0, errno.EISCONN)


@attrs.frozen
class Address:
    """Where a server is, as the kernel wants it."""

    family: int
    place: tuple[Any, ...]


def address(host: str, port: int) -> Address:
    """That of a host that is an IP address, with its zone if it has one.  Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return Address(found[0][0], found[0][4])


Reached = Callable[[ClientConnection, socket.socket, bool], None]
"""Gets the client, its connection to the server, and whether `Readiness` watches that already, for
all events."""

Failed = Callable[[ClientConnection, OSError], None]
"""Gets the client and what is wrong."""


class Connecting:
    """Makes connections to one server, each within `seconds` (`Overdue` says how exactly)."""

    def __init__(self, traffic: Traffic, seconds: float) -> None:
        self._traffic = traffic
        self._overdue: Overdue[_Attempt] = Overdue(traffic.reactor, seconds, _Attempt.give_up)

    def connect(
        self, client: ClientConnection, to: Address, reached: Reached, failed: Failed
    ) -> None:
        """Call `reached`, at once where the kernel answers at once, or `failed`, later.

        Raises OSError when the process is out of descriptors or memory.
        """
        server = self._open(to.family)
        number = server.connect_ex(to.place)
        if number == errno.EINPROGRESS:  # on one machine it is there when connect returns
            number = server.connect_ex(to.place)
        if number in _THERE:
            reached(client, server, False)
        elif number in _PENDING:
            attempt = _Attempt(client, server, to, reached, failed, self._traffic, self._overdue)
            attempt.start()
        else:
            server.close()
            self._traffic.reactor.callLater(0, failed, client, _error(number))

    def _open(self, family: int) -> socket.socket:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        try:
            return socket.socket(family, kind)
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES:
                raise
            self._traffic.reserve.spend()
            return socket.socket(family, kind)

    def __len__(self) -> int:
        return len(self._overdue)

    def stop(self) -> None:
        """Give up what is under way."""
        for attempt in self._overdue.waiting():
            attempt.abort()
        self._overdue.stop()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@attrs.frozen(eq=False)
class _Attempt:
    """A connection that is being made."""

    _client: ClientConnection
    _server: socket.socket
    _to: Address
    _reached: Reached
    _failed: Failed
    _traffic: Traffic
    _overdue: Overdue[_Attempt]

    def start(self) -> None:
        self._traffic.readiness.watch(self._server.fileno(), self, BOTH)
        self._overdue.touch(self)

    def woken(self, fd: int, events: int) -> None:
        number = self._server.connect_ex(self._to.place)
        if number in _THERE:
            self._overdue.discard(self)
            self._reached(self._client, self._server, True)
        elif number not in _PENDING:
            self._fail(number)

    def go_on(self) -> None:
        """It never asks for that."""

    def give_up(self) -> None:
        """It has taken too long."""
        self._fail(errno.ETIMEDOUT)

    def abort(self) -> None:
        self._fail(errno.ECONNABORTED)

    def _fail(self, number: int) -> None:
        if self._server.fileno() < 0:
            return  # it has failed before
        self._overdue.discard(self)
        self._traffic.readiness.forget(self._server.fileno())
        self._server.close()
        self._failed(self._client, _error(number))
