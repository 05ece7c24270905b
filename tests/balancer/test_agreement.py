"""Servers that draw from something else than the table says are told of, loudly and once."""

from __future__ import annotations

from pathlib import Path

from homing.balancer.agreement import Agreement, Difference
from homing.server.service import UnixAddress
from homing.shared.fingerprint import digest
from homing.shared.id_sets import IdRange
from homing.shared.record import Record
from tests.balancer.running import HandOffServer, balancing, is_served, wait_up
from tests.logs import log
from tests.reactor import eventually
from tests.server.running import serving

OURS, THEIRS = (Record((IdRange.of_prefix(prefix),)) for prefix in (b"HOME", b"ELSE"))


def test_a_difference_is_told_once_with_both_digests_and_again_when_it_is_over() -> None:
    agreement = Agreement({"s1": OURS})
    with log("homing.balancer.agreement") as lines:
        agreement.told("s1", digest(OURS))
        assert lines == []
        for _ in range(3):
            agreement.told("s1", digest(THEIRS))
        assert len(lines) == 1
        for words in (digest(OURS).hex(), digest(THEIRS).hex(), "same farm.toml"):
            assert words in lines[0]
        assert agreement.differences == {"s1": Difference(digest(THEIRS).hex(), digest(OURS).hex())}
        agreement.told("s1", digest(OURS))
        assert len(lines) == 2
        assert agreement.differences == {}


def test_nothing_is_said_of_servers_that_tell_no_digest_nor_where_nothing_is_compared() -> None:
    with log("homing.balancer.agreement") as lines:
        Agreement({"s1": OURS}).told("s1", None)
        Agreement(None).told("s1", digest(THEIRS))
        Agreement({}).told("s1", digest(THEIRS))
    assert lines == []


def test_a_server_with_another_record_is_told_of_and_still_gets_connections(tmp_path: Path) -> None:
    with HandOffServer(tmp_path / "s1.sock") as server:
        with balancing({"s1": server.path}, records={"s1": OURS}) as (balancer, address):
            server.greet(digest=digest(THEIRS))
            wait_up(balancer, "s1")
            assert "s1" in balancer.agreement.differences
            is_served(address, server)
            server.greet(digest=digest(OURS))
            eventually(lambda: not balancer.agreement.differences)


def test_servers_of_ours_greet_with_the_digest_of_their_record(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    for record in (OURS, THEIRS):
        with serving(UnixAddress(path), record=record):
            with balancing({"s1": str(path)}, records={"s1": OURS}) as (balancer, _):
                wait_up(balancer, "s1")
                assert ("s1" in balancer.agreement.differences) == (record is THEIRS)
