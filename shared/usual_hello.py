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

_HEAD = Struct("!BBxH BBH Bx 32x B")
"""Record: type, version (major), length; message: type, length (2 fields); hello: version (major),
random, length of the session ID."""
_START = 22, 3, 1, 3
"""A handshake record of TLS, and in it a ClientHello of TLS."""

_SESSION_TICKET = 35
_PRE_SHARED_KEY = 41
_WANTED = frozenset((_SESSION_TICKET, _PRE_SHARED_KEY))


def read_usual(data: bytes) -> Brought | None:
    """What the usual hello at the start of `data` brings; None when it is not a usual one."""
    size = len(data)
    if size < _HEAD.size:
        return None
    record, tls, length, message, high, low, version, at = _HEAD.unpack_from(data)
    end = 5 + length
    if (record, tls, message, version) != _START or end != 9 + (high << 16 | low) or end > size:
        return None
    session_id = data[44 : 44 + at]
    at += 44
    if at > 44 + LENGTH or at + 2 >= end:
        return None
    suites = data[at] << 8 | data[at + 1]
    at += 2 + suites
    if suites < 2 or suites & 1 or at >= end or not data[at]:
        return None
    at += 1 + data[at]  # compression methods
    brought = [] if at == end else _in_extensions(data, at, end)
    if brought is not None and session_id:
        brought.append((Carrier.SESSION_ID, session_id))
    return brought


def _in_extensions(data: bytes, at: int, end: int) -> Brought | None:
    """The PSK identities, then the ticket; None when the extensions do not fill `data` to `end`."""
    if at + 2 > end or at + 2 + (data[at] << 8 | data[at + 1]) != end:
        return None
    at += 2
    offer: Brought | None = []
    ticket = None
    for _ in range(MOST_EXTENSIONS):
        if at + 4 > end:
            break
        start = at + 4
        kind = data[at + 1]
        at = start + (data[at + 2] << 8 | data[at + 3])
        if kind in _WANTED and not data[start - 4]:
            if kind == _PRE_SHARED_KEY and at == end:  # it is the last one
                offer = _in_offer(data, start, at)
            elif kind == _SESSION_TICKET and ticket is None and at <= end:
                ticket = data[start:at]
            else:
                return None
    if at != end or offer is None:
        return None
    if ticket:
        offer.append((Carrier.TICKET, _name(ticket, 0, len(ticket))))
    return offer


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
