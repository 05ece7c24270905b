"""Connections go to their server, wait for it while it is busy, and within the limits only."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.link import MOST_UNANSWERED
from homing.balancer.routing import Reason
from homing.balancer.service import Balancer
from tests.balancer.running import (
    HELLO,
    Two,
    closes_within,
    connect,
    counted,
    serving,
    waits,
)
from tests.balancer.simulation.run import hello
from tests.logs import log
from tests.reactor import Blocked, call, eventually

RETURNS = hello(b"s1".ljust(32, b"x"))
"""The hello of a client of s1."""


def test_who_comes_back_waits_for_a_busy_server_and_first_visits_go_to_another(two: Two) -> None:
    balancer, address, busy, other = two
    with ExitStack() as stack:
        returns = [
            stack.enter_context(connect(address, RETURNS)) for _ in range(MOST_UNANSWERED + 20)
        ]
        waits(balancer, 20)
        first = [stack.enter_context(connect(address, HELLO)) for _ in range(4)]
        for _ in first:
            assert other.serve() == HELLO
        for _ in returns:
            assert busy.serve() == RETURNS
        assert {client.recv(100) for client in returns + first} == {b"served"}
    waits(balancer, 0)
    counted(balancer, "s1", Reason.OWNER, len(returns))
    counted(balancer, "s2", Reason.NO_IDENTIFIER, len(first))


def test_who_waits_for_a_busy_server_that_dies_goes_to_another(two: Two) -> None:
    balancer, address, busy, other = two
    with ExitStack() as stack:
        for _ in range(MOST_UNANSWERED + 20):
            stack.enter_context(connect(address, RETURNS))
        waits(balancer, 20)
        busy.die()
        for _ in range(MOST_UNANSWERED + 20):
            assert other.serve() == RETURNS
    counted(balancer, "s2", Reason.OWNER_DOWN, MOST_UNANSWERED + 20)


@pytest.mark.parametrize("two", [{"hello_timeout": 0.5}], indirect=True)
def test_who_waits_too_long_for_a_busy_server_goes_to_another_and_the_reason_says_busy(
    two: Two,
) -> None:
    balancer, address, busy, other = two
    with ExitStack() as stack:
        for _ in range(MOST_UNANSWERED + 1):
            stack.enter_context(connect(address, RETURNS))
        with busy.take():  # it is there, and slow
            assert other.serve() == RETURNS
    counted(balancer, "s2", Reason.OWNER_BUSY, 1)
    assert balancer.planes["s1"].up


@pytest.mark.parametrize("two", [{"max_waiting": 20}], indirect=True)
def test_unfinished_hellos_push_out_nobody_who_comes_back_and_one_too_many_goes_elsewhere(
    two: Two,
) -> None:
    balancer, address, busy, other = two
    waiting = balancer.dispatch.waiting
    with ExitStack() as stack:
        for _ in range(MOST_UNANSWERED + 20):
            stack.enter_context(connect(address, RETURNS))
        eventually(lambda: len(waiting.queue("s1")) == 20, "the rest waits")
        for _ in range(10):
            assert closes_within(stack.enter_context(connect(address, HELLO[:50])), 5) < 5
        assert len(waiting.queue("s1")) == 20
        stack.enter_context(connect(address, RETURNS))
        assert other.serve() == RETURNS
        for _ in range(MOST_UNANSWERED + 20):
            assert busy.serve() == RETURNS
    counted(balancer, "", Reason.CROWDED_OUT, 10)
    counted(balancer, "s2", Reason.OWNER_BUSY, 1)


def test_one_evicted_while_its_server_goes_down_is_not_routed_again(two: Two) -> None:
    balancer, address, _, _ = two
    plane = balancer.planes["s1"]

    def goes_down() -> None:
        balancer.dispatch.waiting.renew(5, 5.0)  # as SIGHUP does
        plane.up = False
        balancer.dispatch.changed()

    with ExitStack() as stack:
        for hello_ in [HELLO] * 2 * MOST_UNANSWERED + [RETURNS] * 20:  # nobody answers
            stack.enter_context(connect(address, hello_))
        waits(balancer, 20)
        call(goes_down)
        waits(balancer, 5)
        counted(balancer, "", Reason.ALL_BUSY, 15)


@pytest.mark.defect
def test_one_that_cannot_be_handed_on_is_closed_and_hinders_nobody_behind_it(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    balancer, address, busy, _ = two
    plane = balancer.planes["s1"]
    take = plane.take
    broken: list[ClientConnection] = []

    def take_but_one(client: ClientConnection) -> bool:
        if not broken:
            broken.append(client)
            raise RuntimeError("broken")
        return take(client)

    with ExitStack() as stack:
        for _ in range(MOST_UNANSWERED + 3):
            stack.enter_context(connect(address, RETURNS))
        waits(balancer, 3)
        monkeypatch.setattr(plane, "take", take_but_one)
        for _ in range(MOST_UNANSWERED + 2):
            assert busy.serve() == RETURNS
        waits(balancer, 0)
    assert broken[0].socket.fileno() == -1, "it is closed"


def test_a_server_that_is_out_of_descriptors_is_busy_not_down(two: Two) -> None:
    balancer, address, full, other = two
    with connect(address, RETURNS):
        full.refuse()
        assert other.serve() == RETURNS
    counted(balancer, "s2", Reason.OWNER_BUSY, 1)
    assert balancer.planes["s1"].up


@pytest.mark.parametrize("two", [{"source_rate": 1}], indirect=True)
def test_who_comes_back_too_often_is_served_wherever_the_policy_says(two: Two) -> None:
    balancer, address, one, other = two
    with ExitStack() as stack:
        with Blocked():
            for _ in range(25):
                stack.enter_context(connect(address, RETURNS))
        followed = balancer.counts["s1"]
        eventually(lambda: _routed(balancer) == 25, "all are on their way")
        for server, name in ((one, "s1"), (other, "s2")):
            for _ in range(sum(balancer.counts[name].values())):
                server.serve()
    assert 5 <= followed[Reason.OWNER] < 15
    for name in ("s1", "s2"):
        assert balancer.counts[name][Reason.SOURCE_EXCESS] >= 5


@pytest.mark.parametrize("two", [{"server_excess": 1}], indirect=True)
def test_too_many_for_one_server_are_so_too_when_all_servers_have_been_busy(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homing.balancer.limits.ALWAYS", 3)  # 6 from a rare source
    balancer, address, one, other = two
    with ExitStack() as stack:
        for _ in range(2 * MOST_UNANSWERED):
            stack.enter_context(connect(address, HELLO))
        counted(balancer, "s1", Reason.NO_IDENTIFIER, MOST_UNANSWERED)
        counted(balancer, "s2", Reason.NO_IDENTIFIER, MOST_UNANSWERED)
        for _ in range(26):
            stack.enter_context(connect(address, RETURNS))
        waits(balancer, 26)
        for _ in range(MOST_UNANSWERED):
            one.serve()
            other.serve()
        eventually(lambda: _routed(balancer) == 2 * MOST_UNANSWERED + 26, "all are on their way")
    assert balancer.counts["s1"][Reason.OWNER] == 6
    assert sum(balancer.counts[name][Reason.SERVER_EXCESS] for name in ("s1", "s2")) == 20


def _routed(balancer: Balancer) -> int:
    return sum(sum(reasons.values()) for reasons in balancer.counts.values())


@pytest.mark.parametrize("up", [0, 1], ids=["down", "full"])
def test_many_that_nobody_takes_are_one_line_with_the_true_reason(tmp_path: Path, up: int) -> None:
    reason = Reason.ALL_BUSY if up else Reason.NOBODY
    with (
        serving(tmp_path, up, hello_timeout=0.3, max_waiting=100) as (balancer, address, _),
        log() as said,
        ExitStack() as stack,
    ):
        for _ in range(up * MOST_UNANSWERED):  # which it leaves unanswered
            stack.enter_context(connect(address, HELLO))
        clients = [stack.enter_context(connect(address, HELLO)) for _ in range(20)]
        for client in clients:
            closes_within(client, 20)
        counted(balancer, "", reason, len(clients))
    closed = [text for text in said if "closed" in text]
    assert closed == [f"connections closed as {reason.value}: 1"]
