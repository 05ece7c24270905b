"""ClientHello: the first message of a TLS client, read as it arrives (RFC 8446, 4.1.2; RFC 5246).

`ClientHelloReader` takes bytes and has three outcomes: `NeedMore`, a `ClientHello`, or
`NotClientHello` with the reason.  It never raises, holds at most its ceiling of bytes, and looks at
each byte once however the hello is cut into reads and TLS records.
"""

from __future__ import annotations

import attrs

CEILING = 65_536
"""Bytes, record headers included, within which a hello must end; real ones are 0.2 to 2.5 KB."""

_RECORD_HEADER = 5
_LARGEST_RECORD = 1 << 14
_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_MESSAGE_HEADER = 4
_SHORTEST_BODY = 2 + 32 + 1 + 2 + 2 + 1 + 1

_SERVER_NAME = 0
_ALPN = 16
_SESSION_TICKET = 35
_PRE_SHARED_KEY = 41
_SUPPORTED_VERSIONS = 43


@attrs.frozen
class ClientHello:
    """What a ClientHello tells about where it wants to go."""

    legacy_version: int
    session_id: bytes
    """0 to 32 bytes."""
    psk_identities: tuple[bytes, ...] = ()
    session_ticket: bytes | None = None
    """None without the extension; empty where the client has no ticket but takes one."""
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    supported_versions: tuple[int, ...] = ()
    """Of the extension; empty below TLS 1.3."""

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions offered, as on the wire: 0x0304 is TLS 1.3."""
        return self.supported_versions or (self.legacy_version,)


@attrs.frozen
class NeedMore:
    """The hello goes on; it cannot be complete before `at_least` more bytes."""

    at_least: int


@attrs.frozen
class NotClientHello:
    """What came is no ClientHello, and `reason` says why."""

    reason: str


Outcome = NeedMore | ClientHello | NotClientHello


class ClientHelloReader:
    """Reads one ClientHello from however many reads and records.

    Feed it what arrives, each byte once, until the outcome is no longer `NeedMore`.
    """

    def __init__(self, ceiling: int = CEILING) -> None:
        self._ceiling = ceiling
        self._fed = 0
        self._header = b""
        self._left_in_record = 0
        self._message = bytearray()
        self._message_length = _MESSAGE_HEADER
        self._outcome: Outcome | None = None

    def feed(self, data: bytes) -> Outcome:
        """Take the next bytes and say what they amount to."""
        if self._outcome is None:
            try:
                outcome = self._read(data)
            except _Malformed as fault:
                outcome = NotClientHello(str(fault))
            if not isinstance(outcome, NeedMore):
                self._outcome = outcome
                self._message = bytearray()
            return outcome
        return self._outcome

    def _read(self, data: bytes) -> Outcome:
        at, end = 0, min(len(data), self._ceiling - self._fed)
        while at < end:
            if not self._left_in_record:
                taken = min(_RECORD_HEADER - len(self._header), end - at)
                self._header += data[at : at + taken]
                at += taken
                self._open_record()
                continue
            taken = min(self._left_in_record, end - at)
            self._message += data[at : at + taken]
            self._left_in_record -= taken
            at += taken
            if self._is_complete():
                return parse_body(bytes(self._message[_MESSAGE_HEADER : self._message_length]))
        self._fed += end
        missing = self._missing()
        if self._fed + missing > self._ceiling:
            raise _Malformed(f"the hello is longer than {self._ceiling} bytes")
        return NeedMore(missing)

    def _open_record(self) -> None:
        """Check the record header as far as it is there; enter the record once it is complete."""
        header = self._header
        if header[0] != _HANDSHAKE_RECORD:
            raise _Malformed(_what_starts_with(header[0]))
        if len(header) > 1 and header[1] != 3:
            raise _Malformed(f"record version {header[1]}.x is not TLS")
        if len(header) == _RECORD_HEADER:
            length = int.from_bytes(header[3:], "big")
            if not 0 < length <= _LARGEST_RECORD:
                raise _Malformed(f"a handshake record of {length} bytes")
            self._left_in_record = length
            self._header = b""

    def _is_complete(self) -> bool:
        """Check the message header as far as it is there; whether the whole message is."""
        message = self._message
        if message[0] != _CLIENT_HELLO:
            raise _Malformed(f"handshake message {message[0]} is not a ClientHello")
        if len(message) < _MESSAGE_HEADER:
            return False
        if self._message_length == _MESSAGE_HEADER:
            body = int.from_bytes(message[1:_MESSAGE_HEADER], "big")
            if body < _SHORTEST_BODY:
                raise _Malformed(f"a ClientHello of {body} bytes")
            self._message_length = _MESSAGE_HEADER + body
        return len(message) >= self._message_length

    def _missing(self) -> int:
        """The bytes that must come before there can be an answer, with the headers they need."""
        missing = self._message_length - len(self._message)
        if self._left_in_record >= missing:
            return missing
        rest = missing - self._left_in_record
        headers = _RECORD_HEADER * -(-rest // _LARGEST_RECORD)
        return missing + headers - len(self._header)


class _Malformed(Exception):
    """The bytes break the format; the text says where."""


def _what_starts_with(first: int) -> str:
    if first & 0x80:
        return "an SSLv2 hello, or no TLS at all"
    if 0x41 <= first <= 0x5A:
        return "plain text, perhaps HTTP without TLS"
    return f"first byte {first:#04x} is not a TLS handshake record"


class _Fields:
    """Walks over the fields of a message; every length is checked against what is there."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def number(self, size: int, what: str) -> int:
        start = self.at
        self.at = start + size
        if self.at > self.end:
            raise _Malformed(f"{what} is cut off")
        return int.from_bytes(self.data[start : self.at], "big")

    def take(self, length: int, what: str) -> bytes:
        start = self.at
        self.at = start + length
        if self.at > self.end:
            raise _Malformed(f"{what} is cut off")
        return self.data[start : self.at]

    def vector(self, size: int, what: str) -> bytes:
        """A field behind its length, which takes `size` bytes."""
        return self.take(self.number(size, what), what)

    def finish(self, what: str) -> None:
        if self.at != self.end:
            raise _Malformed(f"{what} has {self.end - self.at} bytes too many")


def parse_body(body: bytes) -> ClientHello | NotClientHello:
    """The ClientHello in the body of a handshake message, its 4-byte header taken off."""
    try:
        return _parse_body(body)
    except _Malformed as fault:
        return NotClientHello(str(fault))


def _parse_body(body: bytes) -> ClientHello:
    fields = _Fields(body)
    version = fields.number(2, "the version")
    if version >> 8 != 3:
        raise _Malformed(f"ClientHello version {version:#06x} is not TLS")
    fields.take(32, "the random")
    session_id = fields.vector(1, "the session ID")
    if len(session_id) > 32:
        raise _Malformed(f"a session ID of {len(session_id)} bytes; 32 is the most")
    suites = fields.vector(2, "the cipher suites")
    if len(suites) < 2 or len(suites) % 2:
        raise _Malformed(f"cipher suites of {len(suites)} bytes")
    if not fields.vector(1, "the compression methods"):
        raise _Malformed("no compression method")
    known = _known_extensions(fields) if fields.at < fields.end else {}

    offers = known.get(_PRE_SHARED_KEY)
    names = known.get(_SERVER_NAME)
    protocols = known.get(_ALPN)
    versions = known.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        version,
        session_id,
        () if offers is None else _psk_identities(offers),
        known.get(_SESSION_TICKET),
        None if names is None else _host_name(names),
        () if protocols is None else _protocols(protocols),
        () if versions is None else _versions(versions),
    )


_READ = frozenset((_SERVER_NAME, _ALPN, _SESSION_TICKET, _PRE_SHARED_KEY, _SUPPORTED_VERSIONS))


def _known_extensions(fields: _Fields) -> dict[int, bytes]:
    """The extensions that Homing reads, by type.  This loop is the hot part of parsing."""
    data, at = fields.data, fields.at + 2
    length, end = fields.number(2, "the extensions"), fields.end
    if at + length != end:
        raise _Malformed(f"extensions of {length} bytes where {end - at} are left")
    known: dict[int, bytes] = {}
    kind = -1
    while at < end:
        start = at + 4
        if start > end:
            raise _Malformed("an extension is cut off")
        kind = data[at] << 8 | data[at + 1]
        at = start + (data[at + 2] << 8 | data[at + 3])
        if at > end:
            raise _Malformed(f"extension {kind} is cut off")
        if kind in _READ:
            if kind in known:
                raise _Malformed(f"extension {kind} comes twice")
            known[kind] = data[start:at]
    if _PRE_SHARED_KEY in known and kind != _PRE_SHARED_KEY:
        raise _Malformed("pre_shared_key is not the last extension")
    return known


def _psk_identities(data: bytes) -> tuple[bytes, ...]:
    """The identities of pre_shared_key (RFC 8446, 4.2.11), each 1 byte at least."""
    offer = _Fields(data)
    listed = _Fields(offer.vector(2, "the PSK identities"))
    identities = []
    while listed.at < listed.end:
        identity = listed.vector(2, "a PSK identity")
        if not identity:
            raise _Malformed("an empty PSK identity")
        listed.take(4, "a ticket age")
        identities.append(identity)
    binders = _Fields(offer.vector(2, "the PSK binders"))
    offer.finish("pre_shared_key")
    count = 0
    while binders.at < binders.end:
        if len(binders.vector(1, "a PSK binder")) < 32:
            raise _Malformed("a PSK binder of less than 32 bytes")
        count += 1
    if not identities or count != len(identities):
        raise _Malformed(f"{len(identities)} PSK identities with {count} binders")
    return tuple(identities)


def _host_name(data: bytes) -> str:
    """The host name of server_name (RFC 6066, 3); what is no ASCII is shown escaped."""
    extension = _Fields(data)
    listed = _Fields(extension.vector(2, "the server names"))
    extension.finish("server_name")
    if listed.number(1, "a server name") != 0:
        raise _Malformed("a server name that is not a host name")
    name = listed.vector(2, "a server name")
    listed.finish("server_name")
    if not name:
        raise _Malformed("an empty server name")
    return name.decode("ascii", "backslashreplace")


def _protocols(data: bytes) -> tuple[bytes, ...]:
    """The protocols of ALPN (RFC 7301, 3.1)."""
    extension = _Fields(data)
    listed = _Fields(extension.vector(2, "the ALPN protocols"))
    extension.finish("ALPN")
    names = []
    while listed.at < listed.end:
        names.append(listed.vector(1, "an ALPN protocol"))
    if not names or not all(names):
        raise _Malformed("an empty ALPN protocol")
    return tuple(names)


def _versions(data: bytes) -> tuple[int, ...]:
    """The versions of supported_versions (RFC 8446, 4.2.1)."""
    extension = _Fields(data)
    listed = extension.vector(1, "the supported versions")
    extension.finish("supported_versions")
    if len(listed) < 2 or len(listed) % 2:
        raise _Malformed(f"supported versions of {len(listed)} bytes")
    return tuple(listed[i] << 8 | listed[i + 1] for i in range(0, len(listed), 2))
