"""What is known about a connection's TLS session.  Pure."""

from __future__ import annotations

import attrs

from homing.shared.candidates import Candidate


@attrs.frozen
class Session:
    """A session that was begun or resumed."""

    protocol: str
    resumed: bool
    found_by: Candidate | None
    """The identifier that the client brought back and that the session was found by."""
    issued: tuple[bytes, ...]
    """The identifiers drawn from the record for this connection."""
    missed: frozenset[bytes] = frozenset()
    """The identifiers that the client brought back and that led to nothing."""
    leaves: bool = False
    """Whether it replaces one that was known, but whose identifier is about to leave the server."""
