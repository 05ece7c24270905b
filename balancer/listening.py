"""The listening sockets that Twisted's endpoint strings describe, as plain sockets.

A Twisted port both listens and accepts.  Here these are two things: `Ingress` accepts, and the
process that opened a socket may keep it while balancers come and go.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, cast

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from homing.shared.errors import HomingError

_SYSTEMD = "systemd:"

BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted, if net.core.somaxconn allows it."""


def listening_socket(description: str) -> socket.socket:
    """The socket that a Twisted endpoint string (tcp:, tcp6: or systemd:) describes, listening.

    It is non-blocking and closed at exec; with IPv6 it takes no IPv4 clients, unless systemd's
    socket unit says so.  Raises HomingError that says why it cannot be opened.
    """
    results: list[object] = []
    try:
        endpoint = serverFromString(cast(object, _Opener()), description)
        endpoint.listen(Factory()).addBoth(results.append)
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
    except Exception as error:
        raise HomingError(
            f"cannot listen at {shown(description)}: {_why(description, error)}"
        ) from error
    assert isinstance(result, socket.socket)
    return result


def open_all(descriptions: Iterable[str]) -> list[socket.socket]:
    """The sockets of all, or none.  Raises HomingError about the first that cannot be opened."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(listening_socket(one)) for one in descriptions]
        opened.pop_all()
    return sockets


def open_for(workers: int, descriptions: Sequence[str]) -> list[list[socket.socket]]:
    """The sockets of all, for each of so many processes; raises as `open_all` does.

    Each process has a queue of its own at every address, over which the kernel spreads the clients
    (SO_REUSEPORT).  Who opened the sockets keeps them: clients in the queue of a process that has
    died wait for the next one.  systemd's sockets are shared: there is one queue for all.
    """
    with ExitStack() as opened:
        first = [opened.enter_context(one) for one in open_all(descriptions)]
        others = [
            [
                opened.enter_context(_beside(one, description))
                for one, description in zip(first, descriptions, strict=True)
            ]
            for _ in range(workers - 1)
        ]
        opened.pop_all()
    return [first, *others]


def _beside(first: socket.socket, description: str) -> socket.socket:
    """Another socket that listens where `first` does."""
    if description.startswith(_SYSTEMD):
        return first.dup()
    try:
        # Only now: had `first` begun with it, a second farm could have taken the address as well
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return _listening(first.family, first.getsockname(), shares=True)
    except OSError as error:
        raise HomingError(
            f"cannot listen at {shown(description)}: {_why(description, error)}"
        ) from error


def _listening(family: socket.AddressFamily, address: Any, *, shares: bool) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        if family is socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def shown(description: str) -> str:
    """An endpoint string as farm.toml has it, without what Twisted wants escaped."""
    return description.replace("\\:", ":")


def _why(description: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if not description.startswith(("tcp:", "tcp6:", _SYSTEMD)):
        return "only tcp:, tcp6: and systemd: endpoints can be used"
    if isinstance(error, LookupError):
        return (
            "no such socket was inherited; systemd gives them to a service that it starts for a "
            "socket unit"
        )
    return str(error)


class _Opener:
    """Stands in for the reactor of an endpoint: opens the socket, but makes no port of it."""

    def listenTCP(
        self, port: int, factory: Factory, backlog: int = BACKLOG, interface: str = ""
    ) -> socket.socket:
        """As IReactorTCP.listenTCP."""
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        found = socket.getaddrinfo(
            interface or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        address = found[0][4]  # of a link-local one, with its zone
        return _listening(family, address, shares=False)

    def adoptStreamPort(
        self, descriptor: int, family: socket.AddressFamily, factory: Factory
    ) -> socket.socket:
        """As IReactorSocket.adoptStreamPort."""
        return adopted(os.dup(descriptor), family)


def adopted(descriptor: int, family: socket.AddressFamily | None = None) -> socket.socket:
    """An inherited descriptor as a listening TCP socket, which then owns it.

    Raises ValueError when it is something else, or not of `family`; OSError when it is not open.
    """
    one = socket.socket(fileno=descriptor)
    tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type is socket.SOCK_STREAM
    if not tcp or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        one.close()
        raise ValueError("the inherited socket is not a listening TCP socket")
    if family is not None and one.family is not family:
        actual = one.family.name.removeprefix("AF_")
        one.close()
        raise ValueError(f"the inherited socket is of the domain {actual}")
    one.setblocking(False)
    one.set_inheritable(False)
    return one
