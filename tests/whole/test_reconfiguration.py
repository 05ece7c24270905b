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

LIFETIME = 5
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

    def homing(self, *arguments: str) -> Ran:
        """Run a command; it says what it has waited for."""
        file = str(self.farm.state_dir / "farm.toml")
        return homing(*arguments, "--config", file, cwd=self.farm.state_dir)

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
    before = {name: pid_of(ours.farm, name) for name in ("s1", "s2", "s3")}
    with returning(ours.farm, tuple(CARRIERS), LIFETIME) as returns:
        added = ours.homing("servers", "add", "s4")
        assert added.status == 0, added.err
        eventually(lambda: ours.shows("s1", "s2", "s3", "s4"))
        ways = {"s1": "exceptions", "s2": "scheduled", "s3": "drain"}
        done = at_once(
            *(partial(ours.homing, "servers", "drain", s, "--how", how) for s, how in ways.items())
        )
        assert [one.status for one in done] == [0, 0, 0], done
        assert [one.err.splitlines()[-1] for one in done] == [f"{one} is drained" for one in ways]
        assert set(owners(ours.registry.view()).values()) == {"s4"}
        back = ours.homing("servers", "add", "s1")
        assert back.status == 0, back.err
        removed = ours.homing("servers", "remove", "s3")
        assert removed.status == 0, removed.err
        eventually(lambda: ours.shows("s1", "s2", "s4"))
        eventually(lambda: not is_alive(before["s3"]))
        resized = ours.homing("resize", "s1", "10%", "--how", "scheduled")
        assert resized.status == 0, resized.err
        taken_back = at_once(
            partial(ours.homing, "servers", "add", "s2"),
            partial(ours.homing, "servers", "add", "s3"),
        )
        assert [one.status for one in taken_back] == [0, 0], taken_back
        even = ours.homing("reassign", "--how", "exceptions")
        assert even.status == 0, even.err
        gone = pid_of(ours.farm, "s4")
        last = ours.homing("servers", "remove", "s4", "--how", "exceptions")
        assert last.status == 0, last.err
        eventually(lambda: ours.shows("s1", "s2", "s3"))
        eventually(lambda: not is_alive(gone))
    assert returns.lost() == []
    status = json.loads(ours.homing("status", "--json").out)
    assert {one["name"]: one["state"] for one in status["servers"]} == dict.fromkeys(
        ("s1", "s2", "s3"), "active"
    )
    assert status["moves"] == []
    assert all(one["next"] is None for one in status["parts"])
    assert {one["epoch"] for one in status["balancers"]} == {status["epoch"]}


def near(owned: int, target: float) -> bool:
    """Whether it is that, give or take a part."""
    return abs(owned - target) <= 1


def test_an_edited_farm_toml_leads_to_the_same_moves(ours: Running) -> None:
    leaving = pid_of(ours.farm, "s1")
    more = local_servers("s5", more='share="10%"')
    fewer = "".join(f"[[server]]{one}" for one in ours.servers.split("[[server]]")[2:])
    with returning(ours.farm, tuple(CARRIERS), LIFETIME) as returns:
        ours.change(fewer + more)
        eventually(lambda: ours.shows("s2", "s3", "s5"), within=60)
        eventually(lambda: not is_alive(leaving))
        ours.registry.settles()
        count = 1 << ours.registry.view().farm.bits  # type: ignore[union-attr]
        ours.registry.eventually(lambda view: near(len(view.owned["s5"]), count * 0.08))
        ours.change(fewer + more.replace("10%", "40%"))
        ours.registry.eventually(lambda view: near(len(view.owned["s5"]), count * 0.32))
        ours.change(ours.servers)
        eventually(lambda: ours.shows("s1", "s2", "s3"), within=60)
    assert returns.lost() == []
    ours.registry.settles()
