"""ClientHello: the first message of a TLS client, read as it arrives (RFC 8446, 4.1.2; RFC 5246).

`ClientHelloReader` takes bytes and has three outcomes: `NeedMore`, a `ClientHello`, or
`NotClientHello` with the reason.  It never raises and holds at most its ceiling of bytes.  It looks
at each byte once, however the hello is cut into reads and TLS records.

Only what routing needs is read here.  Everything that a client can repeat is bounded, so that no
hello costs much more than a usual one.  `homing.shared.hello_details` reads the rest, for people.
"""

from __future__ import annotations

import attrs

from homing.shared.fields import Fields, Malformed

CEILING = 16_384
"""Bytes, record headers included, within which a hello must end; real ones are 0.2 to 2.5 KB."""

MOST_RECORDS = 160
"""TLS records that a hello may come in.  Clients use one.  Tools against censorship cut hellos into
fragments of 10 bytes or more, which makes some 130 of a browser's."""

MOST_EXTENSIONS = 64
"""Extensions of a hello; real ones have less than 30."""

MOST_IDENTITIES = 8
"""PSK identities of a hello that are read; real clients offer one or two."""

_RECORD_HEADER = 5
_LARGEST_RECORD = 1 << 14
_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_MESSAGE_HEADER = 4
_SHORTEST_BODY = 2 + 32 + 1 + 2 + 2 + 1 + 1

_SESSION_TICKET = 35
_PRE_SHARED_KEY = 41


@attrs.frozen
class ClientHello:
    """What routing needs of a ClientHello."""

    legacy_version: int
    session_id: bytes
    """0 to 32 bytes."""
    psk_identities: tuple[bytes, ...] = ()
    """The first `MOST_IDENTITIES` of them."""
    session_ticket: bytes | None = None
    """None without the extension; empty where the client has no ticket but takes one."""
    extensions: bytes = attrs.field(default=b"", eq=False, repr=False)
    """All extensions, as on the wire, for `homing.shared.hello_details`."""


@attrs.frozen
class NeedMore:
    """The hello is not complete; at least so many bytes are missing."""

    at_least: int


@attrs.frozen
class NotClientHello:
    """What came is no ClientHello, or one beyond the limits; `reason` says why."""

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
        self._records = 0
        self._left_in_record = 0
        self._message = bytearray()
        self._message_length = _MESSAGE_HEADER
        self._look_at = 1  # bytes of the message that the next check needs
        self._outcome: Outcome | None = None

    def feed(self, data: bytes) -> Outcome:
        """Take the next bytes; returns the outcome so far."""
        if self._outcome is None:
            try:
                outcome = self._read(data)
            except Malformed as fault:
                outcome = NotClientHello(str(fault))
            if not isinstance(outcome, NeedMore):
                self._outcome = outcome
                self._message = bytearray()
            return outcome
        return self._outcome

    def _read(self, data: bytes) -> Outcome:
        at, end = 0, min(len(data), self._ceiling - self._fed)
        message = self._message
        while at < end:
            if not self._left_in_record:
                at = self._open_record(data, at, end)
            start = at
            at = min(start + self._left_in_record, end)
            self._left_in_record -= at - start
            message += data[start:at]
            if len(message) >= self._look_at and self._is_complete(message):
                return _parse_body(bytes(message[_MESSAGE_HEADER : self._message_length]))
        self._fed += end
        missing = self._missing()
        if self._fed + missing > self._ceiling:
            raise Malformed(f"the hello is longer than {self._ceiling} bytes")
        return NeedMore(missing)

    def _open_record(self, data: bytes, at: int, end: int) -> int:
        """Check the record header as far as it is there; enter the record once it is complete.

        Returns where in `data` the header ends.
        """
        past = min(at + _RECORD_HEADER - len(self._header), end)
        header = self._header + data[at:past]
        if header[0] != _HANDSHAKE_RECORD:
            raise Malformed(_what_starts_with(header[0]))
        if len(header) > 1 and header[1] != 3:
            raise Malformed(f"record version {header[1]}.x is not TLS")
        if len(header) < _RECORD_HEADER:
            self._header = header
            return past
        length = header[3] << 8 | header[4]
        if not 0 < length <= _LARGEST_RECORD:
            raise Malformed(f"a handshake record of {length} bytes")
        self._records += 1
        if self._records > MOST_RECORDS:
            raise Malformed(f"the hello is in more than {MOST_RECORDS} TLS records")
        self._left_in_record = length
        self._header = b""
        return past

    def _is_complete(self, message: bytearray) -> bool:
        """Check the message header as far as it is there; whether the whole message is."""
        if message[0] != _CLIENT_HELLO:
            raise Malformed(f"handshake message {message[0]} is not a ClientHello")
        if self._message_length == _MESSAGE_HEADER <= len(message):
            body = int.from_bytes(message[1:_MESSAGE_HEADER], "big")
            if body < _SHORTEST_BODY:
                raise Malformed(f"a ClientHello of {body} bytes")
            self._message_length = _MESSAGE_HEADER + body
        self._look_at = self._message_length
        return _MESSAGE_HEADER < self._message_length <= len(message)

    def _missing(self) -> int:
        """The bytes that must come before there can be an answer, with the headers they need."""
        missing = self._message_length - len(self._message)
        if self._left_in_record >= missing:
            return missing
        rest = missing - self._left_in_record
        headers = _RECORD_HEADER * -(-rest // _LARGEST_RECORD)
        return missing + headers - len(self._header)


def _what_starts_with(first: int) -> str:
    if first & 0x80:
        return "an SSLv2 hello, or no TLS at all"
    if 0x41 <= first <= 0x5A:
        return "plain text, perhaps HTTP without TLS"
    return f"first byte {first:#04x} is not a TLS handshake record"


def _parse_body(body: bytes) -> ClientHello:
    """The ClientHello in the body of a handshake message.  Raises Malformed."""
    fields = Fields(body)
    version = fields.number(2, "the version")
    if version >> 8 != 3:
        raise Malformed(f"ClientHello version {version:#06x} is not TLS")
    fields.take(32, "the random")
    session_id = fields.vector(1, "the session ID")
    if len(session_id) > 32:
        raise Malformed(f"a session ID of {len(session_id)} bytes; 32 is the most")
    suites = fields.vector(2, "the cipher suites")
    if len(suites) < 2 or len(suites) % 2:
        raise Malformed(f"cipher suites of {len(suites)} bytes")
    if not fields.vector(1, "the compression methods"):
        raise Malformed("no compression method")
    if fields.at == fields.end:
        return ClientHello(version, session_id)
    extensions = fields.vector(2, "the extensions")
    fields.finish("the ClientHello")
    ticket, offer = _ticket_and_psk_offer(extensions)
    identities = () if offer is None else psk_identities(offer)
    return ClientHello(version, session_id, identities, ticket, extensions)


def _ticket_and_psk_offer(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The contents of session_ticket and pre_shared_key.  Most of parsing's time is spent here."""
    ticket = offer = None
    at, end = 0, len(data)
    for _ in range(MOST_EXTENSIONS):
        if at == end:
            break
        start = at + 4
        if start > end:
            raise Malformed("an extension is cut off")
        kind = data[at] << 8 | data[at + 1]
        at = start + (data[at + 2] << 8 | data[at + 3])
        if at > end:
            raise Malformed(f"extension {kind} is cut off")
        if kind == _SESSION_TICKET:
            if ticket is not None:
                raise Malformed("session_ticket comes twice")
            ticket = data[start:at]
        elif kind == _PRE_SHARED_KEY:
            if at != end:
                raise Malformed("pre_shared_key is not the last extension")
            offer = data[start:at]
    else:
        if at != end:
            raise Malformed(f"more than {MOST_EXTENSIONS} extensions")
    return ticket, offer


def psk_identities(data: bytes) -> tuple[bytes, ...]:
    """The first identities of pre_shared_key (RFC 8446, 4.2.11), each 1 byte at least.

    Binders are the server's to check.
    """
    offer = Fields(data)
    listed = Fields(offer.vector(2, "the PSK identities"))
    offer.vector(2, "the PSK binders")
    offer.finish("pre_shared_key")
    identities: list[bytes] = []
    while listed.at < listed.end and len(identities) < MOST_IDENTITIES:
        identity = listed.vector(2, "a PSK identity")
        if not identity:
            raise Malformed("an empty PSK identity")
        listed.take(4, "a ticket age")
        identities.append(identity)
    if not identities:
        raise Malformed("no PSK identity")
    return tuple(identities)
