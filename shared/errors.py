"""Errors whose text is shown to users."""

from __future__ import annotations


class HomingError(Exception):
    """Base of every error Homing raises on purpose; its text is fit to be shown."""


class NoFreeIdentifier(HomingError):
    """Every identifier that a set or record may give out is taken."""


class OverlapError(HomingError, ValueError):
    """Two servers may give out the same identifier; `faults` has one message a pair."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class UnsupportedOpenSSL(HomingError):
    """The OpenSSL that pyOpenSSL uses cannot be reached, or does not draw from the record."""
