"""How connected TCP sockets are set up, named and ended.

A balancer may keep its copy of a connection that it handed over for some milliseconds.  So `close`
alone would not tell the client of the end.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from socket import (
    AF_INET6,
    IPPROTO_TCP,
    NI_NUMERICHOST,
    NI_NUMERICSERV,
    SHUT_RDWR,
    TCP_NODELAY,
    TCP_USER_TIMEOUT,
    getnameinfo,
    socket,
)
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from homing.shared.deadlines import STALL_TIMEOUT

Address = IPv4Address | IPv6Address

_libc = ctypes.CDLL(None)
_AF_UNSPEC = bytes(16)  # a sockaddr
_STALL = int(1000 * STALL_TIMEOUT)


def set_up(connection: socket) -> None:
    """Set what every connection needs.  Raises OSError when its client is gone.

    What is written was gathered before, so that nothing is to wait for more.
    """
    connection.setblocking(False)
    connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, _STALL)
    connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, True)


def peer_address(connection: socket) -> Address:
    """The other end.  Raises OSError when it is gone."""
    return _address(connection, connection.getpeername())


def own_address(connection: socket) -> Address:
    """Our end.  Raises OSError when it is closed."""
    return _address(connection, connection.getsockname())


def _address(connection: socket, name: Any) -> Address:
    if connection.family != AF_INET6:
        return IPv4Address("TCP", *name)
    host, port, flow, scope = name
    if scope:  # a link-local address is none without its zone
        host, _ = getnameinfo(name, NI_NUMERICHOST | NI_NUMERICSERV)
    return IPv6Address("TCP", host, port, flow, scope)


def end(connection: socket) -> None:
    """Close it, after what has been written, for whoever has a copy of its descriptor, too."""
    with connection, suppress(OSError):  # the client may be gone
        connection.shutdown(SHUT_RDWR)


def reset(connection: socket) -> None:
    """Reset it at once, whoever has a copy of its descriptor; nothing more is sent.

    A connect to AF_UNSPEC does that (connect(2)); SO_LINGER would wait for the last copy.
    """
    with connection:
        _libc.connect(connection.fileno(), _AF_UNSPEC, len(_AF_UNSPEC))
