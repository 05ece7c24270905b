"""Candidates: the identifiers in a ClientHello by which its session may be found, in order."""

from __future__ import annotations

from enum import StrEnum

import attrs

from homing.shared.client_hello import MOST_IDENTITIES, ClientHello
from homing.shared.identifiers import LENGTH, name_of_ticket


class Carrier(StrEnum):
    """The field of a ClientHello that an identifier came in."""

    SESSION_ID = "session-id"
    TICKET = "ticket"
    PSK = "psk"


@attrs.frozen
class Candidate:
    """An identifier that a client brought back, 1 to 32 bytes, and the field it came in."""

    carrier: Carrier
    identifier: bytes
    """What it is looked up by: for a ticket, its key name."""
    brought: bytes = attrs.field(eq=False, repr=False, default=b"")
    """The first 32 bytes of what the client sent."""


def candidates(hello: ClientHello) -> tuple[Candidate, ...]:
    """The identifiers in `hello`, in the order in which to look them up.

    The order is that of TLS servers: PSK identities (RFC 8446, 4.2.11), a non-empty session ticket
    (RFC 5077, 3.4: the client makes up the session ID beside it), the session ID.  A session ID of
    32 bytes is no evidence of a session: nearly every TLS 1.3 client sends random bytes there.  It
    must be looked up all the same: a client that knows TLS 1.3 and resumes a TLS 1.2 session sends
    the true ID there.
    """
    found = [
        Candidate(Carrier.PSK, name_of_ticket(identity), identity[:LENGTH])
        for identity in hello.psk_identities[:MOST_IDENTITIES]
    ]
    if hello.session_ticket:
        ticket = hello.session_ticket
        found.append(Candidate(Carrier.TICKET, name_of_ticket(ticket), ticket[:LENGTH]))
    if hello.session_id:
        found.append(Candidate(Carrier.SESSION_ID, hello.session_id, hello.session_id))
    return tuple(found)
