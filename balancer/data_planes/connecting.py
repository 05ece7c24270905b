"""Connects to relayed servers for clients: neither blocking, nor in a thread, nor by name."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import attrs

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


@attrs.define(eq=False)
class Attempt:
    """A connection that is being made."""

    socket: socket.socket
    reached: Callable[[Attempt], None]
    failed: Callable[[OSError], None]
    is_watched: bool = False
    """Whether `readiness` watches it, for all events."""


class Connecting:
    """Makes connections to one server, each within `seconds` (`Overdue` says how exactly)."""

    def __init__(self, traffic: Traffic, seconds: float) -> None:
        self._traffic = traffic
        self._overdue: Overdue[_Wait] = Overdue(traffic.reactor, seconds, _Wait.give_up)

    def connect(
        self,
        to: Address,
        reached: Callable[[Attempt], None],
        failed: Callable[[OSError], None],
    ) -> None:
        """Call `reached`, at once where the kernel answers at once, or `failed`, later.

        Raises OSError when the process is out of descriptors or memory.
        """
        attempt = Attempt(self._open(to.family), reached, failed)
        number = attempt.socket.connect_ex(to.place)
        if number == errno.EINPROGRESS:  # on one machine it is there when connect returns
            number = attempt.socket.connect_ex(to.place)
        if number in _THERE:
            reached(attempt)
        elif number in _PENDING:
            _Wait(attempt, to, self._traffic, self._overdue)
        else:
            attempt.socket.close()
            self._traffic.reactor.callLater(0, failed, OSError(number, os.strerror(number)))

    def _open(self, family: int) -> socket.socket:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        try:
            return socket.socket(family, kind)
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES:
                raise
            self._traffic.reserve.spend()
            return socket.socket(family, kind)

    def stop(self) -> None:
        """Leave no timer behind, if nothing is under way."""
        self._overdue.stop()


class _Wait:
    """Waits for an attempt's outcome."""

    def __init__(
        self, attempt: Attempt, to: Address, traffic: Traffic, overdue: Overdue[_Wait]
    ) -> None:
        self._attempt = attempt
        self._to = to
        self._traffic = traffic
        self._overdue = overdue
        traffic.readiness.watch(attempt.socket.fileno(), self, BOTH)
        overdue.touch(self)
        attempt.is_watched = True

    def woken(self, fd: int, events: int) -> None:
        number = self._attempt.socket.connect_ex(self._to.place)
        if number in _THERE:
            self._overdue.discard(self)
            self._attempt.reached(self._attempt)
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
        self._overdue.discard(self)
        self._traffic.readiness.forget(self._attempt.socket.fileno())
        self._attempt.socket.close()
        self._attempt.failed(OSError(number, os.strerror(number)))
