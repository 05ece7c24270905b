"""--at: a time to come, as people write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from homing.farm.commands.operating.reassign import when

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2030-01-02T10:30:00Z", datetime(2030, 1, 2, 10, 30, tzinfo=UTC)),
        ("2030-01-02T12:30", datetime(2030, 1, 2, 10, 30, tzinfo=UTC)),
        ("2030-01-02 12:30:15", datetime(2030, 1, 2, 10, 30, 15, tzinfo=UTC)),
        ("12:30", datetime(2030, 1, 2, 10, 30, tzinfo=UTC)),
        ("03:30", datetime(2030, 1, 3, 1, 30, tzinfo=UTC)),
        ("12:00", datetime(2030, 1, 3, 10, 0, tzinfo=UTC)),
    ],
)
def test_a_time_is_understood(text: str, at: datetime) -> None:
    assert when(text, NOW) == at


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2030-13-01", "-1", "99999-01-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; allowed: as 2030-12-31T03:30:00Z, or 03:30"):
        when(text, NOW)


def test_a_time_that_is_over_is_refused() -> None:
    with pytest.raises(ValueError, match="is over"):
        when("2030-01-02T09:59:00Z", NOW)
