"""The usual ClientHello, read in one pass: whole, in one TLS record, with nothing odd in it.

The patent compares standard packets with a mask, and leaves the rest to a processor (p. 7).  This
is the mask: fields at their fixed places, then one loop over the extensions that looks for two of
them.  It says nothing of what is cut, split over records, malformed or no TLS: that is for
`ClientHelloReader`, and whatever is read here, it reads alike.
"""

from __future__ import annotations

from struct import Struct

from homing.shared.candidates import Carrier
from homing.shared.client_hello import MOST_EXTENSIONS, MOST_IDENTITIES
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH

Brought = list[tuple[Carrier, bytes]]
"""The identifiers to look up, as `candidates` has them: where each came from, and itself."""

_head = Struct("!BBxH BBH Bx 32x B").unpack_from
"""Record: type, version (major), length; message: type, length (2 fields); hello: version (major),
random, length of the session ID, which follows."""
_ID = 44

_extension = Struct("!HH").unpack_from
"""Type and length."""
_SESSION_TICKET = 35
_PRE_SHARED_KEY = 41


def read_usual(data: bytes) -> Brought | None:
    """What the usual hello at the start of `data` brings; None when it is not a usual one."""
    if len(data) < _ID:
        return None
    record, tls, length, message, high, low, version, id_length = _head(data)
    end = 5 + length
    if record != 22 or tls != 3 or message != 1 or version != 3:
        return None
    if end != 9 + (high << 16 | low) or end > len(data) or id_length > LENGTH:
        return None
    at = _ID + id_length
    if at + 2 >= end:
        return None
    suites = data[at] << 8 | data[at + 1]
    at += 2 + suites
    if suites < 2 or suites & 1 or at >= end or not data[at]:
        return None
    at += 1 + data[at]  # compression methods
    brought = [] if at == end else _in_extensions(data, at, end)
    if id_length and brought is not None:
        brought.append((Carrier.SESSION_ID, data[_ID : _ID + id_length]))
    return brought


def _in_extensions(data: bytes, at: int, end: int) -> Brought | None:
    """The PSK identities, then the ticket; None when the extensions do not fill `data` to `end`."""
    if at + 2 > end or at + 2 + (data[at] << 8 | data[at + 1]) != end:
        return None
    at += 2
    last = end - 4
    found: Brought = []
    ticket = None
    for _ in range(MOST_EXTENSIONS):
        if at > last:
            break
        kind, length = _extension(data, at)
        start = at + 4
        at = start + length
        if kind == _SESSION_TICKET:
            if ticket is not None or at > end:
                return None
            ticket = data[start:at]
        elif kind == _PRE_SHARED_KEY:
            offer = _in_offer(data, start, end) if at == end else None
            if offer is None:
                return None
            found = offer
    if at != end:
        return None
    if ticket:
        found.append((Carrier.TICKET, _name(ticket, 0, len(ticket))))
    return found


def _in_offer(data: bytes, at: int, end: int) -> Brought | None:
    """The PSK identities of pre_shared_key (RFC 8446, 4.2.11)."""
    if at + 2 > end:
        return None
    last = at + 2 + (data[at] << 8 | data[at + 1])
    if last + 2 > end or last + 2 + (data[last] << 8 | data[last + 1]) != end:
        return None
    at += 2
    found: Brought = []
    while at + 2 < last and len(found) < MOST_IDENTITIES:
        start = at + 2
        length = data[at] << 8 | data[at + 1]
        found.append((Carrier.PSK, _name(data, start, length)))
        at = start + length + 4  # the ticket's age
        if not length:
            return None
    return found if found and at == last else None


def _name(data: bytes, start: int, length: int) -> bytes:
    """As `name_of_ticket`, without a copy of the whole."""
    return data[start : start + (length if length <= LENGTH else KEY_NAME_LENGTH)]
