"""How long a connection may take, in each of its phases."""

from __future__ import annotations

from itertools import product

import pytest
from twisted.internet.task import Clock

from homing.server.tls.common_deadline import CommonDeadline
from homing.server.tls.deadlines import NEXT, ConnectionDeadlines, ConnectionEvent, Phase

SECONDS = {Phase.HANDSHAKE: 10.0, Phase.CLOSING: 4.0, Phase.PEER_CLOSED: 4.0}


class Connection:
    """Deadlines, and when they aborted their connection."""

    def __init__(self, *events: ConnectionEvent) -> None:
        self.clock = Clock()
        self.sends = False
        self.aborted: list[float] = []
        self.deadlines = ConnectionDeadlines(
            {phase: CommonDeadline(self.clock, seconds) for phase, seconds in SECONDS.items()},
            sends=lambda: self.sends,
            abort=lambda: self.aborted.append(self.clock.seconds()),
        )
        for event in events:
            self.deadlines.happened(event)

    def passes(self, seconds: int) -> list[float]:
        """When it is aborted, of so many seconds."""
        self.clock.pump([0.25] * (4 * seconds))
        return self.aborted


def test_every_event_has_an_answer_in_every_phase() -> None:
    assert NEXT.keys() == set(product(Phase, ConnectionEvent))


@pytest.mark.parametrize(
    ("events", "aborted_at"),
    [
        ([], 10),
        ([ConnectionEvent.PEER_CLOSE], 10),
        ([ConnectionEvent.HANDSHAKE_DONE], None),
        ([ConnectionEvent.CLOSE], 4),
        ([ConnectionEvent.CLOSE, ConnectionEvent.HANDSHAKE_DONE], 4),
        ([ConnectionEvent.HANDSHAKE_DONE, ConnectionEvent.CLOSE], 4),
        ([ConnectionEvent.HANDSHAKE_DONE, ConnectionEvent.PEER_CLOSE], 4),
        ([ConnectionEvent.LOST], None),
        (
            [
                ConnectionEvent.HANDSHAKE_DONE,
                ConnectionEvent.CLOSE,
                ConnectionEvent.LOST,
                ConnectionEvent.CLOSE,
            ],
            None,
        ),
    ],
)
def test_when_a_connection_is_aborted(
    events: list[ConnectionEvent], aborted_at: float | None
) -> None:
    connection = Connection(*events)
    assert connection.passes(100) == ([] if aborted_at is None else [aborted_at])


def test_events_that_change_nothing_give_no_more_time() -> None:
    connection = Connection(ConnectionEvent.HANDSHAKE_DONE, ConnectionEvent.CLOSE)
    connection.passes(3)
    connection.deadlines.happened(ConnectionEvent.CLOSE)
    assert connection.passes(2) == [4]


def test_our_goodbye_gives_time_anew() -> None:
    connection = Connection(ConnectionEvent.HANDSHAKE_DONE, ConnectionEvent.PEER_CLOSE)
    connection.passes(3)
    connection.deadlines.happened(ConnectionEvent.CLOSE)
    assert connection.passes(9) == [7]


def test_a_slow_reader_has_time_as_long_as_it_reads() -> None:
    connection = Connection(ConnectionEvent.HANDSHAKE_DONE, ConnectionEvent.CLOSE)
    connection.sends = True
    assert connection.passes(60) == []
    connection.sends = False
    assert connection.passes(5)


@pytest.mark.parametrize(
    "events", [[], [ConnectionEvent.HANDSHAKE_DONE, ConnectionEvent.PEER_CLOSE]]
)
def test_to_read_slowly_is_no_excuse_before_our_goodbye(events: list[ConnectionEvent]) -> None:
    connection = Connection(*events)
    connection.sends = True
    assert connection.passes(12)
