"""A server's agent over a registry in which something is wrong: it goes on once that is over."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from homing.server.agent.drawing import Drawing
from homing.server.agent.service import EVERY, Agent
from homing.server.agent.telling import Identity
from homing.server.identifiers.issuer import Issuer
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import (
    Exceptions,
    FarmValue,
    Needs,
    PartValue,
    ServerFacts,
    Wish,
)
from homing.shared.record import Record
from homing.shared.registry.interface import Transaction
from homing.shared.registry.memory import MemoryRegistry
from homing.shared.schemes import SCHEMES
from tests.logs import log
from tests.shared.registry.simulated import SimulatedClient
from tests.turns import TurningClock

FACTS = ServerFacts("unix:s1.sock")
FARM = FarmValue("range", b"HOME".hex(), 3)


class Server:
    """The agent of s1, and the registry that it follows."""

    def __init__(self, *, shares_sessions: bool = False) -> None:
        self.clock = TurningClock()
        self.registry = MemoryRegistry(self.clock.seconds)
        self.issuer = Issuer(Record(()), session_lifetime=7200, now=self.clock.seconds)
        clock: Any = self.clock
        identity = Identity(
            name="s1",
            incarnation="x",
            home="here",
            facts=FACTS,
            needs=Needs(),
            shares_sessions=shares_sessions,
        )
        self.agent = Agent(
            clock,
            SimulatedClient(self.registry, clock),
            identity,
            Drawing("s1", SCHEMES["range"]),
            self.issuer,
            leave=lambda parts: None,
        )
        self.put(keys.FARM, FARM)
        self.put(keys.wish("s1"), Wish(FACTS))

    def put(self, key: str, value: object) -> None:
        there = self.registry.items.get(key)
        expected = {key: there.revision if there else 0}
        assert self.registry.commit(Transaction(expected, {key: encode(value)}))

    def go_on(self, seconds: float = 3 * EVERY) -> None:
        for _ in range(int(seconds / 0.1)):
            self.clock.advance(0.1)

    def stop(self) -> None:
        stopped: Deferred[None] = self.agent.stopService()
        self.go_on()
        assert stopped.called
        assert self.clock.calls == []


@pytest.fixture(name="server")
def _server() -> Server:
    return Server()


@pytest.mark.defect
def test_a_farm_that_cannot_be_divided_so_ends_no_agent(server: Server) -> None:
    with log("homing.server.agent") as lines:
        server.put(keys.FARM, FarmValue("range", b"HOME".hex(), 60))
        server.put(keys.part(1), PartValue("s1"))
        server.agent.startService()
        server.go_on(20)
    assert len(lines) == 1, "one line, however often it looks"
    server.put(keys.FARM, FARM)
    server.go_on()
    assert server.issuer.session_id(lambda one: False).startswith(b"HOME")
    until = server.issuer.until
    server.go_on(300)
    assert server.issuer.until > until, "it looks again and again"
    server.stop()


def test_an_exception_that_is_no_identifier_does_not_keep_a_server_from_drawing(
    server: Server,
) -> None:
    server.put(keys.part(1), PartValue("s1"))
    server.put(keys.page(1, "s2", 0), Exceptions(("no hex",), ("00" * 40,)))
    server.agent.startService()
    server.go_on()
    assert server.issuer.session_id(lambda one: False).startswith(b"HOME")
    server.stop()


def test_exceptions_of_sessions_that_a_group_still_has_survive_a_restart_of_their_server() -> None:
    server = Server(shares_sessions=True)
    page = keys.page(1, "s1", 0)
    server.put(keys.part(1), PartValue("s2", drawn=True))
    server.put(page, Exceptions((b"HOME".ljust(32, b"\x21").hex(),)))
    server.agent.startService()
    server.go_on(60)
    assert page in server.registry.items
    server.go_on(7200)
    assert page not in server.registry.items, "until they have surely ended"
    server.stop()
