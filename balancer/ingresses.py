"""All the listening sockets of a balancer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket

from homing.balancer.ingress import Ingress
from homing.balancer.listening import open_all


class Ingresses:
    """Listens at `descriptions`, endpoint strings, or has `sockets`, then its own, that do so.

    `make` returns the ingress at a socket.
    """

    def __init__(
        self,
        descriptions: Sequence[str],
        sockets: Sequence[socket] | None,
        make: Callable[[socket], Ingress],
    ) -> None:
        self._descriptions = descriptions
        self._sockets = sockets
        self._make = make
        self._all: list[Ingress] = []

    def listen(self) -> None:
        """Have clients wait in the kernel's queue until the start.  Raises HomingError."""
        if self._sockets is None:
            self._sockets = open_all(self._descriptions)

    def start(self) -> None:
        """Get ready to accept.  Raises HomingError."""
        self.listen()
        self._all = [self._make(one) for one in self._sockets or ()]

    def open(self) -> None:
        """Accept."""
        for one in self._all:
            one.open()

    @property
    def addresses(self) -> list[str]:
        """Host and port of every listening port."""
        return [one.address for one in self._all]

    def defer(self, seconds: float) -> None:
        """Have the kernel keep silent connections to itself for so long."""
        for one in self._all:
            one.defer(seconds)

    def stop(self) -> None:
        """Leave the clients in the kernel's queues to other processes that have the sockets."""
        for one in self._all:
            one.stop()
        self._all = []
