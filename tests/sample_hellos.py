"""ClientHellos for the tests: recorded ones, and the means to take one apart and rebuild it.

Written without the parser under test, so that both can disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import attrs

SERVER_NAME = 0
ALPN = 16
PADDING = 21
SESSION_TICKET = 35
PRE_SHARED_KEY = 41
SUPPORTED_VERSIONS = 43
KEY_SHARE = 51
READ = frozenset((SERVER_NAME, ALPN, SESSION_TICKET, PRE_SHARED_KEY, SUPPORTED_VERSIONS))
"""The extensions that Homing reads."""


@attrs.frozen
class Sample:
    """A recorded first flight and what its recorder noted about it."""

    name: str
    length: int
    session_id: int
    ticket: int | None
    psk: tuple[int, ...]
    tls13: bool

    @property
    def wire(self) -> bytes:
        """The bytes as the server's socket received them."""
        return (Path(__file__).parent / "hellos" / f"{self.name}.bin").read_bytes()

    @property
    def message(self) -> bytes:
        """The handshake message: every sample is a single TLS record."""
        return self.wire[5:]

    @property
    def body(self) -> bytes:
        """The ClientHello without its handshake header."""
        return self.wire[9:]


SAMPLES = (
    Sample("chromium-12-first", 394, 0, 0, (), False),
    Sample("chromium-12-resume-sid", 426, 32, 0, (), False),
    Sample("chromium-12-resume-ticket", 602, 32, 176, (), False),
    Sample("chromium-first", 1936, 32, None, (), True),
    Sample("chromium-resume-psk", 2207, 32, None, (192,), True),
    Sample("curl-first", 517, 32, None, (), True),
    Sample("curl-resume-psk", 601, 32, None, (208,), True),
    Sample("curl-resume-sid", 517, 32, None, (), True),
    Sample("go-12-first", 211, 32, 0, (), False),
    Sample("go-12-resume-ticket", 371, 32, 160, (), False),
    Sample("go-first", 265, 32, 0, (), True),
    Sample("go-resume-psk", 504, 32, 0, (192,), True),
    Sample("gnutls-12-first", 220, 0, 0, (), False),
    Sample("gnutls-12-resume-sid", 252, 32, 0, (), False),
    Sample("gnutls-first", 391, 32, 0, (), True),
    Sample("gnutls-resume-psk", 662, 32, 0, (208,), True),
    Sample("gnutls-resume-sid", 391, 32, 0, (), True),
    Sample("gnutls-resume-ticket", 567, 32, 176, (), True),
    Sample("node-first", 367, 32, 0, (), True),
    Sample("node-resume-psk", 638, 32, 0, (208,), True),
    Sample("node-resume-ticket", 543, 32, 176, (), True),
    Sample("openssl-default-first", 315, 32, 0, (), True),
    Sample("openssl-default-resume-psk", 586, 32, 0, (208,), True),
    Sample("openssl-default-resume-sid", 315, 32, 0, (), True),
    Sample("openssl-default-resume-ticket", 491, 32, 176, (), True),
    Sample("openssl-first12", 206, 0, 0, (), False),
    Sample("openssl-resume-sid", 238, 32, 0, (), False),
    Sample("openssl-resume-ticket", 414, 32, 176, (), False),
    Sample("python-first", 517, 32, 0, (), True),
    Sample("python-resume-psk", 556, 32, 0, (208,), True),
    Sample("python-resume-sid", 517, 32, 0, (), True),
    Sample("python-resume-ticket", 517, 32, 176, (), True),
    Sample("python12-resume-sid", 212, 32, 0, (), False),
)


def sample(name: str) -> Sample:
    """The sample of that name."""
    return next(each for each in SAMPLES if each.name == name)


def vector(size: int, content: bytes) -> bytes:
    """`content` behind its length in `size` bytes."""
    return len(content).to_bytes(size, "big") + content


Extension = tuple[int, bytes]


@attrs.frozen
class Parts:
    """The fields of a ClientHello's body."""

    version: bytes = b"\x03\x03"
    random: bytes = bytes(32)
    session_id: bytes = b""
    suites: bytes = b"\x13\x01\xc0\x2b"
    compression: bytes = b"\0"
    extensions: tuple[Extension, ...] | None = None

    @property
    def body(self) -> bytes:
        """The body they make, every length fitting."""
        start = self.version + self.random + vector(1, self.session_id)
        start += vector(2, self.suites) + vector(1, self.compression)
        if self.extensions is None:
            return start
        listed = b"".join(kind.to_bytes(2, "big") + vector(2, x) for kind, x in self.extensions)
        return start + vector(2, listed)

    def having(self, *extensions: Extension) -> Parts:
        """The same with these extensions."""
        return attrs.evolve(self, extensions=extensions)

    def extension(self, kind: int) -> bytes:
        """The content of the extension of that type."""
        return dict(self.extensions or ())[kind]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, length: int) -> bytes:
        if length > len(self.data):
            raise ValueError("cut off")
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def vector(self, size: int) -> bytes:
        return self.take(int.from_bytes(self.take(size), "big"))


def take_apart(body: bytes) -> Parts:
    """The fields of `body`.  Raises ValueError where their lengths do not fit."""
    cursor = _Cursor(body)
    parts = Parts(
        cursor.take(2), cursor.take(32), cursor.vector(1), cursor.vector(2), cursor.vector(1)
    )
    if not cursor.data:
        return parts
    listed, extensions = _Cursor(cursor.vector(2)), []
    while listed.data:
        extensions.append((int.from_bytes(listed.take(2), "big"), listed.vector(2)))
    if cursor.data:
        raise ValueError("bytes too many")
    return parts.having(*extensions)


def psk_offer(identities: Iterable[bytes], binders: Iterable[bytes]) -> Extension:
    """A pre_shared_key extension."""
    listed = b"".join(vector(2, identity) + bytes(4) for identity in identities)
    return PRE_SHARED_KEY, vector(2, listed) + vector(2, b"".join(vector(1, b) for b in binders))


def message(body: bytes) -> bytes:
    """The handshake message with that body."""
    return b"\x01" + vector(3, body)


def records(data: bytes, sizes: Iterable[int]) -> bytes:
    """`data` in TLS handshake records of `sizes`, which start over when they run out."""
    wire, rest = b"", data
    for size in cycle(sizes):
        if not rest:
            return wire
        wire += b"\x16\x03\x01" + vector(2, rest[:size])
        rest = rest[size:]
    raise ValueError("no sizes")


def wire_of(parts: Parts) -> bytes:
    """A first flight in records as large as TLS allows."""
    return records(message(parts.body), [1 << 14])


def padded_to(parts: Parts, length: int) -> Parts:
    """`parts` with a padding extension in front, so that the body is `length` bytes long."""
    room = length - len(parts.having((PADDING, b""), *(parts.extensions or ())).body)
    return parts.having((PADDING, bytes(room)), *(parts.extensions or ()))


def large_hello() -> bytes:
    """A TLS 1.3 hello of 1.9 KB with a PSK and an ML-KEM share, as browsers send them."""
    parts = take_apart(sample("gnutls-resume-psk").body)
    shares = parts.extension(KEY_SHARE)[2:]
    grown = vector(2, b"\x11\xec" + vector(2, bytes(1216)) + shares)
    listed = [(k, grown if k == KEY_SHARE else x) for k, x in parts.extensions or ()]
    return wire_of(parts.having(*listed))
