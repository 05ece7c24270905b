"""The messages that balancer and server exchange while connections are handed over.

They talk over a UNIX stream socket of the server's.  The server greets first; then every message
of the balancer is one `CONNECTION` byte with one descriptor (SCM_RIGHTS), and every answer of the
server is one byte.  `ACCEPTED` and `REFUSED` come in the order of the connections.

The balancer keeps its copy of a connection until it is accepted, and the server reads nothing from
it before it has sent `ACCEPTED`.  So a connection that was under way when a server died, hung or
ran out of descriptors has its hello still unread and can go to another server.
"""

from __future__ import annotations

import struct

CONNECTION = b"C"
ACCEPTED = b"+"
REFUSED = b"!"
ENDED = b"-"
"""A connection that this server accepted earlier is over."""

PEER_CREDENTIALS = struct.Struct("3i")
"""What the kernel says of the process at the other end: pid, uid, gid (SO_PEERCRED, unix(7))."""

_GREETING = struct.Struct("!4sI")
_MAGIC = b"HOM1"
GREETING_LENGTH = _GREETING.size


def greeting(active: int) -> bytes:
    """What a server says first: that it takes connections, and how many it has."""
    return _GREETING.pack(_MAGIC, active)


def read_greeting(data: bytes) -> int:
    """The server's number of connections.  Raises ValueError when it is no greeting of ours."""
    magic, active = _GREETING.unpack(data)
    if magic != _MAGIC:
        raise ValueError(f"expected a greeting that starts with {_MAGIC!r}, got {data!r}")
    return int(active)
