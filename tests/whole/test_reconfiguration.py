"""A farm is reconfigured while clients come back all the time, and none of them loses anything."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial

import attrs
import pytest

from homing.farm.processes.local import LocalFarm, running
from tests.processes import (
    Ran,
    at_once,
    config_of,
    free_port,
    homing,
    is_alive,
    local_servers,
    pid_of,
)
from tests.reactor import eventually
from tests.whole.clients import CARRIERS
from tests.whole.registered import Registered, owners
from tests.whole.returning import returning

pytestmark = pytest.mark.timeout(300)  # leases and lifetimes have to end

LIFETIME = 3
"""Seconds for which a session lives; most drains last as long."""


MANY_VISITS = "source_rate=0\nserver_excess=0\n"
"""All clients of these tests have one address, and one server may have them all."""


def relayed(*names: str) -> str:
    """The sections of farm.toml for servers that are relayed to."""
    return "".join(
        f'[[server]]\nname="{name}"\naddress="tcp:127.0.0.1:{free_port()}"\nproxy_protocol=true\n'
        for name in names
    )


KINDS = {"tickets, hand-off": ("both", local_servers), "IDs, relay": ("ids", relayed)}


@attrs.frozen
class Running:
    """A farm that runs, and what people do to it."""

    farm: LocalFarm
    servers: str
    """The sections of its farm.toml that say which servers there are."""

    @property
    def registry(self) -> Registered:
        return Registered.of(self.farm.state_dir)

    def does(self, words: str, *arguments: str) -> Ran:
        """Run a command, which says at its end that it is done."""
        file = str(self.farm.state_dir / "farm.toml")
        done = homing(*arguments, "--config", file, cwd=self.farm.state_dir)
        assert done.status == 0, done.err
        assert words in done.err.splitlines()[-1:][0] if words else not done.err
        return done

    def owned(self, server: str) -> float:
        """The part of all identifiers that a server owns."""
        view = self.registry.view()
        assert view.farm is not None
        return len(view.owned.get(server, ())) / (1 << view.farm.bits)

    def change(self, servers: str) -> None:
        """Edit farm.toml, and have it read again."""
        file = self.farm.state_dir / "farm.toml"
        file.write_text(file.read_text().partition("[[server]]")[0] + servers)
        self.farm.process.send_signal(signal.SIGHUP)

    def names(self) -> list[str]:
        """The servers that farm.json has."""
        return sorted(one["name"] for one in self.farm.facts()["servers"])

    def shows(self, *names: str) -> bool:
        """Whether farm.json is there, with just these servers."""
        try:
            return self.names() == sorted(names)
        except FileNotFoundError:
            return False


def near(owned: float, target: float) -> bool:
    """Whether it is that, give or take a part."""
    return abs(owned - target) < 0.002


@pytest.fixture(scope="module", name="ours", params=KINDS)
def ours_(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    resumption, sections = KINDS[request.param]
    folder, servers = tmp_path_factory.mktemp("reconfigured"), sections("s1", "s2", "s3")
    more = f'{MANY_VISITS}[session_ids]\nlifetime={LIFETIME}\nresumption="{resumption}"'
    with running(folder, config_of(folder, servers, more=more)) as farm:
        yield Running(farm, servers)
    assert not list(folder.glob("*.sock"))


def test_servers_come_and_go_each_way_and_no_client_notices(ours: Running) -> None:
    leaving = {name: pid_of(ours.farm, name) for name in ("s1", "s2", "s3")}
    with returning(ours.farm, tuple(CARRIERS), LIFETIME) as returns:
        ours.does("s4 is up and has its identifiers", "servers", "add", "s4")
        eventually(lambda: ours.shows("s1", "s2", "s3", "s4"))
        drain, remove = ("servers", "drain"), ("servers", "remove")
        at_once(
            partial(ours.does, "s1 is drained", *drain, "s1", "--how", "exceptions"),
            partial(ours.does, "s2 is drained", *drain, "s2", "--how", "scheduled"),
            partial(ours.does, "s3 is removed", *remove, "s3", "--how", "drain"),
        )
        assert set(owners(ours.registry.view()).values()) == {"s4"}
        eventually(lambda: ours.shows("s1", "s2", "s4"))
        eventually(lambda: not is_alive(leaving["s3"]))
        at_once(
            *(
                partial(ours.does, f"{one} is up and has", "servers", "add", one)
                for one in ("s1", "s2", "s3")
            )
        )
        gone = pid_of(ours.farm, "s4")
        ours.does("s4 is removed", *remove, "s4", "--how", "exceptions")
        eventually(lambda: ours.shows("s1", "s2", "s3"))
        eventually(lambda: not is_alive(gone))
    assert returns.lost() == []
    status = json.loads(ours.does("", "status", "--json").out)
    states = {one["name"]: one["state"] for one in status["servers"]}
    assert states == dict.fromkeys(("s1", "s2", "s3"), "active")
    assert status["moves"] == []
    assert all(one["next"] is None for one in status["parts"])
    assert {one["epoch"] for one in status["balancers"]} == {status["epoch"]}


@pytest.mark.parametrize("ours", ["tickets, hand-off"], indirect=True)
def test_shares_change_and_the_farm_is_evened_and_no_client_notices(ours: Running) -> None:
    with returning(ours.farm, tuple(CARRIERS), LIFETIME) as returns:
        ours.does("s1 is resized to 10%", "resize", "s1", "10%", "--how", "scheduled")
        assert near(ours.owned("s1"), 0.08)
        ours.does("the farm is even", "reassign", "--how", "exceptions")
    assert returns.lost() == []
    ours.registry.settles()


@pytest.mark.parametrize("ours", ["IDs, relay"], indirect=True)
def test_an_edited_farm_toml_leads_to_the_same_moves(ours: Running) -> None:
    leaving = pid_of(ours.farm, "s1")
    more = local_servers("s5", more='share="10%"')
    fewer = "".join(f"[[server]]{one}" for one in ours.servers.split("[[server]]")[2:])
    with returning(ours.farm, tuple(CARRIERS), LIFETIME) as returns:
        ours.change(fewer + more)
        eventually(lambda: ours.shows("s2", "s3", "s5"), within=60)
        eventually(lambda: not is_alive(leaving))
        ours.registry.settles()
        eventually(lambda: near(ours.owned("s5"), 0.08))
        ours.change(fewer + more.replace("10%", "40%"))
        eventually(lambda: near(ours.owned("s5"), 0.32))
        ours.change(ours.servers)
        eventually(lambda: ours.shows("s1", "s2", "s3"), within=60)
    assert returns.lost() == []
    ours.registry.settles()
