"""ServerHello: the session ID that a TLS 1.2 server gives out (RFC 5246, 7.4.1.3).

Read as it arrives, like a ClientHello: nothing here raises, and at most 4 KB are held.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

_RECORD_HEADER = 5
_CHANGE_CIPHER_SPEC_RECORD = 20
_HANDSHAKE_RECORD = 22
_SERVER_HELLO = 2
_SUPPORTED_VERSIONS = 43
_CEILING = 4096
_LONGEST_FLIGHT = 1 << 18
"""Bytes that a server may send before its ChangeCipherSpec; most of them are certificates."""


@attrs.frozen
class ServerHello:
    """What a ServerHello tells about the session."""

    session_id: bytes
    """In TLS 1.3 an echo of what the client sent, not the ID of a session."""
    is_tls13: bool


class ServerHelloReader:
    """Reads the ServerHello at the start of what a server sends."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.done = False
        """Whether there is nothing more to expect."""

    def feed(self, data: bytes) -> ServerHello | None:
        """Take the next bytes; returns the ServerHello when it is complete."""
        if self.done:
            return None
        self._data += data[: _CEILING - len(self._data)]
        try:
            hello = _parse(bytes(self._data))
        except _CutOffError:
            self.done = len(self._data) >= _CEILING
            return None
        except ValueError:
            hello = None
        self.done = True
        self._data = bytearray()
        return hello


class GivenOutReader:
    """Reads the ID of a session that a TLS 1.2 server keeps, off the start of what it sends.

    A ServerHello alone proves little: anybody can ask for one and leave.  The server's
    ChangeCipherSpec comes only after its client's Finished, or when it resumes a session that it
    knows (RFC 5246, 7.3).
    """

    def __init__(self) -> None:
        self._hello = ServerHelloReader()
        self._session_id = b""
        self._records = RecordWalker()
        self.done = False
        """Whether there is nothing more to expect."""

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; returns the ID once the server is known to keep the session."""
        if self.done:
            return None
        hello = self._hello.feed(data)
        if hello is not None and not hello.is_tls13:
            self._session_id = hello.session_id
        if self._hello.done and not self._session_id:
            self.done = True  # TLS 1.3, or no session, or not TLS
            return None
        for kind in self._records.feed(data):
            if kind != _HANDSHAKE_RECORD:
                self.done = True
                kept = kind == _CHANGE_CIPHER_SPEC_RECORD
                return self._session_id or None if kept else None
        self.done = self._records.passed > _LONGEST_FLIGHT
        return None


class RecordWalker:
    """Walks over TLS records and holds no more than a header."""

    def __init__(self) -> None:
        self.passed = 0
        """Bytes of the records that have begun."""
        self._header = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> Iterator[int]:
        """Take the next bytes; yields the type of each record whose header is then complete."""
        at = 0
        while at < len(data):
            step = min(self._left, len(data) - at)
            self._left -= step
            fresh = data[at + step : at + step + _RECORD_HEADER - len(self._header)]
            self._header += fresh
            at += step + len(fresh)
            if len(self._header) == _RECORD_HEADER:
                self._left = int.from_bytes(self._header[3:], "big")
                self.passed += _RECORD_HEADER + self._left
                kind = self._header[0]
                self._header.clear()
                yield kind


class _CutOffError(Exception):
    """The data ends too early."""


def _parse(data: bytes) -> ServerHello:
    """Raises _CutOffError, or ValueError for what is no ServerHello."""
    if data and data[0] != _HANDSHAKE_RECORD:
        raise ValueError("no handshake record")
    message = _first_record(data)
    if message and message[0] != _SERVER_HELLO:
        raise ValueError("no ServerHello")
    length = int.from_bytes(_take(message, 1, 3), "big")
    body = _take(message, 4, length)
    if length < 38 or body[0] != 3 or body[34] > 32 or length < 38 + body[34]:
        raise ValueError("a malformed ServerHello")
    session_id = body[35 : 35 + body[34]]
    extensions = body[35 + body[34] + 3 + 2 :]
    return ServerHello(session_id, _SUPPORTED_VERSIONS in set(_kinds(extensions)))


def _first_record(data: bytes) -> bytes:
    """The first record, as far as it has come; a ServerHello is short and lies in one."""
    length = int.from_bytes(_take(data, 3, 2), "big")
    return data[_RECORD_HEADER : _RECORD_HEADER + length]


def _take(data: bytes, at: int, length: int) -> bytes:
    if len(data) < at + length:
        raise _CutOffError
    return data[at : at + length]


def _kinds(extensions: bytes) -> list[int]:
    kinds = []
    at = 0
    while at + 4 <= len(extensions):
        kinds.append(int.from_bytes(extensions[at : at + 2], "big"))
        at += 4 + int.from_bytes(extensions[at + 2 : at + 4], "big")
    return kinds
