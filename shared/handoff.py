"""The messages that balancer and server exchange while connections are handed over.

They talk over a UNIX stream socket of the server's.  The server greets first; then every message
of the balancer has one `CONNECTION` byte a connection, and as many descriptors (SCM_RIGHTS); of
those that the server has no room for, the kernel leaves out the last.  Every answer of the server
is one byte.  `ACCEPTED` and `REFUSED` come in the order of the connections.

The balancer keeps its copy of a connection until it is accepted, and the server reads nothing from
it before it has sent `ACCEPTED`.  So a connection that was under way when a server died, hung or
ran out of descriptors has its hello still unread and can go to another server.
"""

from __future__ import annotations

import struct

import attrs

from homing.shared.fingerprint import DIGEST_LENGTH

CONNECTION = b"C"
ACCEPTED = b"+"
REFUSED = b"!"
ENDED = b"-"
"""A connection that this server accepted earlier is over."""

PEER_CREDENTIALS = struct.Struct("3i")
"""What the kernel says of the process at the other end: pid, uid, gid (SO_PEERCRED, unix(7))."""

_MAGIC_LENGTH = 4
_FORMS = {b"HOM1": struct.Struct("!4sI"), b"HOM2": struct.Struct(f"!4sI{DIGEST_LENGTH}s")}
"""The versions of the greeting; servers say the last one."""


@attrs.frozen
class Greeting:
    """What a server says first: that it takes connections."""

    active: int
    """How many it has."""
    digest: bytes | None = None
    """Of its record (`shared/fingerprint.py`); None where it does not say, as older ones do not."""


def greeting(active: int, digest: bytes) -> bytes:
    """What a server says first.  `digest` has `DIGEST_LENGTH` bytes."""
    return _FORMS[b"HOM2"].pack(b"HOM2", active, digest)


def read_greeting(data: bytes) -> tuple[Greeting, bytes] | None:
    """The greeting at the start of `data`, and what follows it; None while it is incomplete.

    Raises ValueError when it is no greeting of ours.
    """
    magic = data[:_MAGIC_LENGTH]
    if not any(known.startswith(magic) for known in _FORMS):
        raise ValueError(f"expected a greeting that starts with HOM1 or HOM2, got {magic!r}")
    form = _FORMS.get(magic)
    if form is None or len(data) < form.size:
        return None
    _, *said = form.unpack(data[: form.size])
    return Greeting(*said), data[form.size :]
