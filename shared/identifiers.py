"""Identifiers: what a client brings back so that its session can be found again.

Identifiers compare as 32-byte big-endian numbers; shorter ones are padded on the right with
zeros.  Padded bytes and numbers order alike, so the code uses whichever is faster.
"""

from __future__ import annotations

LENGTH = 32
"""Bytes of a full identifier: the longest TLS session ID (RFC 5246, 7.4.1.2)."""

KEY_NAME_LENGTH = 16
"""Bytes of a ticket's key name (RFC 5077, 4), an identifier by themselves."""

HIGHEST = (1 << 8 * LENGTH) - 1


def padded(identifier: bytes) -> bytes:
    """The first 32 bytes of `identifier`, padded on the right with zeros."""
    return identifier[:LENGTH].ljust(LENGTH, b"\0")


def number(identifier: bytes) -> int:
    """`identifier` as a number of 256 bits."""
    return int.from_bytes(padded(identifier), "big")


def from_number(value: int) -> bytes:
    """The 32 bytes of a number of 256 bits."""
    return value.to_bytes(LENGTH, "big")


def name_of_ticket(ticket: bytes) -> bytes:
    """What a ticket is looked up by: the whole if it has 32 bytes at most, else its key name."""
    return ticket if len(ticket) <= LENGTH else ticket[:KEY_NAME_LENGTH]
