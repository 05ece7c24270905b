"""An example for the scheme ``function``, for demo farms of s1, s2, s3 and s4."""

from __future__ import annotations


def by_first_bits(identifier: bytes) -> str | None:
    """Two bits say which server it is, if the rest of the byte is that of an "H"."""
    if identifier[0] >> 2 != ord("H") >> 2:
        return None
    return f"s{identifier[0] % 4 + 1}"
