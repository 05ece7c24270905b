"""Sessions find their way home, with real clients and on both data planes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from homing.farm.commands.s_client import Client
from homing.farm.config.farm_toml import load
from homing.farm.plan import plan
from homing.farm.processes.local import LocalFarm
from tests.whole.clients import context, visit


def test_every_openssl_client_that_comes_back_resumes(
    farm: LocalFarm, version: str, tmp_path: Path
) -> None:
    clients = [
        Client(farm.listen, version.removeprefix("TLSv"), tmp_path / str(index), ca=farm.ca)
        for index in range(8)
    ]
    first = [client.visit() for client in clients]
    assert not any(seen.resumed for seen in first)
    assert {seen.server for seen in first} == {"s1", "s2", "s3", "s4"}
    home = {client: seen.server for client, seen in zip(clients, first, strict=True)}
    for _ in range(2):
        random.shuffle(clients)
        for client in clients:
            seen = client.visit()
            assert seen.resumed
            assert seen.server == home[client]


def test_a_client_is_told_truly_what_its_session_was_found_by(
    farm: LocalFarm, version: str
) -> None:
    clients = context(farm.ca, version)
    first = visit(farm.listen, clients)
    back = visit(farm.listen, clients, first.session)
    assert first.answer["protocol"] == back.answer["protocol"] == version
    assert (first.answer["resumed"], first.answer["carrier"]) == (False, None)
    assert first.answer["identifier"] is None
    assert back.reused
    assert back.answer["resumed"]
    assert back.answer["carrier"] == ("psk" if version == "TLSv1.3" else "ticket")
    assert back.answer["identifier"][:32] in first.answer["issued"]
    # TLS 1.2: one ticket a visit; TLS 1.3: two a full handshake, one a resumption
    numbers = (len(first.answer["issued"]), len(back.answer["issued"]))
    assert numbers == ((1, 1) if version == "TLSv1.2" else (2, 1))


def test_servers_know_their_clients_true_address(farm: LocalFarm) -> None:
    clients = context(farm.ca, "TLSv1.3")
    seen = visit(farm.listen, clients)
    host, _, port = seen.answer["client"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) not in {0, int(farm.listen.rpartition(":")[2])}


def test_no_identifier_is_given_out_by_two_servers_or_outside_a_record(farm: LocalFarm) -> None:
    records = plan(load(farm.state_dir / "farm.toml")).records
    issued: Counter[str] = Counter()
    servers = set()
    for version in ("TLSv1.2", "TLSv1.3"):
        clients = context(farm.ca, version)
        for _ in range(150):
            answer = visit(farm.listen, clients).answer
            servers.add(answer["server"])
            for identifier in answer["issued"]:
                assert bytes.fromhex(identifier) in records[answer["server"]]
                issued[identifier] += 1
    assert servers == {"s1", "s2", "s3", "s4"}
    assert len(issued) == 150 + 2 * 150
    assert set(issued.values()) == {1}


def test_a_client_that_resets_after_its_response_can_still_resume(
    farm: LocalFarm, version: str
) -> None:
    clients = context(farm.ca, version)
    for _ in range(10):
        first = visit(farm.listen, clients, leave_by_reset=True)
        again = visit(farm.listen, clients, first.session, leave_by_reset=True)
        assert again.reused
        assert again.answer["server"] == first.answer["server"]
        assert visit(farm.listen, clients, again.session or first.session).reused
