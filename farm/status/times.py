"""Times as ISO 8601 has them.  Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_LAST = 253402300799  # the end of year 9999


def utc(time: datetime) -> str:
    """A time in UTC and whole seconds."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def from_seconds(seconds: float) -> datetime:
    """A time from seconds since 1970, wherever a wrong clock put it."""
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST), UTC)
