"""ServerHello: the session ID that a TLS 1.2 server gives out (RFC 5246, 7.4.1.3).

Read as it arrives, like a ClientHello: `ServerHelloReader` never raises and holds at most one
record's worth of bytes.
"""

from __future__ import annotations

import attrs

_RECORD_HEADER = 5
_HANDSHAKE_RECORD = 22
_SERVER_HELLO = 2
_SUPPORTED_VERSIONS = 43
_CEILING = 4096


@attrs.frozen
class ServerHello:
    """What a ServerHello tells about the session."""

    session_id: bytes
    """Of TLS 1.3 an echo of the client's, and no session's."""
    is_tls13: bool


class ServerHelloReader:
    """Reads the ServerHello at the start of what a server sends."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.done = False
        """Whether there is nothing more to expect."""

    def feed(self, data: bytes) -> ServerHello | None:
        """Take the next bytes; the ServerHello once it is complete, if it is one."""
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


class _CutOffError(Exception):
    """More must come."""


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
    """As much as is there of the record that the ServerHello lies in: it is short, so in one."""
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
