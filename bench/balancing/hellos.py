"""Hellos of clients that come back, and the answers that they get.

The session ID, which every hello here has, also says what the connection is like: its last four
bytes are an `Order`.  So one backend serves every load.
"""

from __future__ import annotations

import os
import struct

import attrs

from tests.sample_hellos import (
    PRE_SHARED_KEY,
    Extension,
    large_hello,
    message,
    records,
    sample,
    take_apart,
    vector,
)

ID_AT = 44
"""Where a hello in one record has its session ID, if that is 32 bytes long."""
ID_LENGTH = 32
SERVER_AT = 11
"""Where an answer has the number of the server: its random begins there."""
_PREFIX = b"HOM"
_ORDER = struct.Struct("!HBB")
REQUEST = bytes(150)
"""What a client sends behind its hello: as long as its Finished and a short request."""
RESPONSE = bytes(300)


@attrs.frozen
class Order:
    """What a client asks of the server."""

    work: int = 0
    """Microseconds that the server works for it."""
    megabytes: int = 0
    """What the server sends, beside its ServerHello."""
    requests: int = 0
    """How often the client sends `REQUEST` and gets `RESPONSE`, once it has its ServerHello."""

    @classmethod
    def of(cls, wire: bytes) -> Order:
        """What a hello asks for."""
        return cls(*_ORDER.unpack_from(wire, ID_AT + ID_LENGTH - _ORDER.size))

    @property
    def wire(self) -> bytes:
        """As the last bytes of a session ID."""
        return _ORDER.pack(self.work, self.megabytes, self.requests)


@attrs.frozen
class Load:
    """What clients bring, and what they ask for."""

    name: str
    wire: bytes
    """A hello."""
    identifier_at: int
    """Where it has the 32 bytes that say where it belongs."""
    order: Order = Order()

    def hello(self, identifier: bytes) -> bytes:
        """The hello of the client that was given this identifier.

        Its session ID, where that is not the identifier, is the client's own invention.
        """
        order = self.order.wire
        if self.identifier_at == ID_AT:
            identifier = identifier[: -len(order)] + order
            return self.wire[:ID_AT] + identifier + self.wire[ID_AT + ID_LENGTH :]
        at, session_id = self.identifier_at, os.urandom(ID_LENGTH - len(order)) + order
        between = self.wire[ID_AT + ID_LENGTH : at]
        return b"".join(
            (self.wire[:ID_AT], session_id, between, identifier, self.wire[at + ID_LENGTH :])
        )


def by_id(order: Order = Order()) -> Load:
    """A TLS 1.2 hello of 238 bytes whose 32-byte session ID says where it belongs."""
    return Load("ID", sample("openssl-resume-sid").wire, ID_AT, order)


def by_psk(order: Order = Order()) -> Load:
    """A TLS 1.3 hello of 1.9 KB, as browsers send them, whose PSK identity does."""
    wire = large_hello()
    (offer,) = (content for kind, content in _extensions(wire) if kind == PRE_SHARED_KEY)
    identity_at = wire.index(offer) + 4  # behind the lengths of list and identity
    return Load("PSK", wire, identity_at, order)


def _extensions(wire: bytes) -> tuple[Extension, ...]:
    return take_apart(wire[9:]).extensions or ()


def prefix(server: int) -> bytes:
    """What all identifiers of a server, by its number, begin with."""
    return _PREFIX + bytes((server,))


def identifiers(servers: int, count: int) -> list[bytes]:
    """New ones, of each server in turn."""
    rest = ID_LENGTH - len(prefix(0))
    return [prefix(1 + at % servers) + os.urandom(rest) for at in range(count)]


def is_whole(wire: bytes) -> bool:
    """Whether the first record is all there."""
    return len(wire) > 5 and len(wire) >= 5 + int.from_bytes(wire[3:5], "big")


def answer(wire: bytes, server: int) -> bytes:
    """A ServerHello that gives the client the session ID that it came with."""
    session_id = wire[ID_AT : ID_AT + ID_LENGTH]
    random = bytes((server,)).ljust(32, b"r")
    body = b"\x03\x03" + random + vector(1, session_id) + b"\xc0\x2b\0" + bytes(2)
    return records(b"\x02" + message(body)[1:], [1 << 14])
