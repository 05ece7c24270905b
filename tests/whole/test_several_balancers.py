"""Two balancers over one registry: clients come back through either, and either may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from homing.farm.registries import Place
from homing.shared.farm_state import keys
from homing.shared.farm_state.view import View
from tests.etcd_process import EtcdProcess, needs_etcd, one_etcd
from tests.processes import config_of, free_port, homing, kill, listens, local_servers, process
from tests.reactor import eventually
from tests.whole.homes import Homes
from tests.whole.registered import Registered, moving
from tests.whole.test_restarts import balancer_is_back

pytestmark = pytest.mark.timeout(300)  # leases and lifetimes have to end

SERVERS = ("s1", "s2")


@attrs.frozen
class Two:
    """A farm, its second balancer, and what both go by."""

    farm: LocalFarm
    port: int
    registry: Registered
    etcd: EtcdProcess | None = None

    @property
    def other(self) -> str:
        """Where the second balancer listens."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def second(two: Two) -> Iterator[int]:
    """The second balancer, from when it is there until the block ends; its process number."""
    folder = two.farm.state_dir
    options = ["--name", "balancer-2", "--listen", f"tcp:{two.port}:interface=127.0.0.1"]
    command = [*COMMAND, "balancer", "--config", str(folder / "farm.toml"), *options]
    with process(*command, cwd=folder, out=folder / "second.log") as one:
        two.registry.eventually(lambda view: "balancer-2" in view.balancers)
        eventually(lambda: listens(two.other))
        yield one.pid


@contextmanager
def _farm(folder: Path, url: str, etcd: EtcdProcess | None = None) -> Iterator[Two]:
    more, servers = "source_rate=0\nserver_excess=0", local_servers(*SERVERS)
    arguments = config_of(folder, servers, more=more, registry=url)
    with running(folder, arguments) as farm:
        yield Two(farm, free_port(), Registered(Place(url, folder)), etcd)


@pytest.fixture(
    scope="module", name="two", params=["sqlite", pytest.param("etcd", marks=needs_etcd)]
)
def two_(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    if request.param == "sqlite":
        with _farm(folder, "sqlite:registry.sqlite") as two:
            yield two
    else:
        with one_etcd() as etcd:
            with _farm(folder, f"etcd:{etcd.client}", etcd) as two:
                yield two


def manager(view: View) -> str | None:
    known = view.single(keys.MANAGER)
    return None if known is None else str(known.name)


def commands(two: Two, *arguments: str) -> None:
    """Ask the farm for something, and do not wait for it."""
    folder = two.farm.state_dir
    done = homing(*arguments, "--no-wait", "--config", folder / "farm.toml", cwd=folder)
    assert done.status == 0, done.err


def drains_and_comes_back(two: Two, server: str) -> None:
    """A move there and back."""
    commands(two, "servers", "drain", server, "--how", "exceptions")
    two.registry.eventually(lambda view: not view.owned.get(server) and not moving(view))
    commands(two, "servers", "add", server)
    two.registry.eventually(lambda view: view.owned.get(server) and not moving(view))


def test_clients_of_one_resume_through_the_other_whichever_of_them_manages_or_is_gone(
    two: Two,
) -> None:
    homes = Homes(two.farm.listen, two.farm.ca).settle(SERVERS)
    first = two.farm.facts()["balancer_pid"]
    with second(two) as other:
        assert homes.lost(*SERVERS, at=two.other) == []
        theirs = Homes(two.other, two.farm.ca).settle(SERVERS)
        assert theirs.lost(*SERVERS, at=two.farm.listen) == []
        os.kill(first, signal.SIGSTOP)
        try:
            two.registry.eventually(lambda view: manager(view) == "balancer-2")
            drains_and_comes_back(two, "s2")
            assert homes.lost(*SERVERS, at=two.other) == []
        finally:
            os.kill(first, signal.SIGCONT)
        two.registry.eventually(lambda view: len(view.balancers) == 2)
        assert homes.lost(*SERVERS) == []
        kill(other)
        two.registry.eventually(lambda view: manager(view) == "balancer-1")
    drains_and_comes_back(two, "s1")
    assert homes.lost(*SERVERS) == []
    with second(two) as other:
        kill(other)
        kill(two.farm.facts()["balancer_pid"])
        balancer_is_back(two.farm, first)
        with second(two):
            for one in (homes, theirs):
                assert one.lost(*SERVERS) == one.lost(*SERVERS, at=two.other) == []
            two.registry.settles()


@pytest.mark.parametrize("two", [pytest.param("etcd", marks=needs_etcd)], indirect=True)
def test_while_etcd_is_gone_all_goes_on_and_a_balancer_that_restarts_routes_as_before(
    two: Two,
) -> None:
    assert two.etcd is not None
    homes = Homes(two.farm.listen, two.farm.ca).settle(SERVERS)
    two.registry.settles()
    before = two.farm.facts()["balancer_pid"]
    two.etcd.kill()
    try:
        assert homes.lost(*SERVERS) == []
        kill(before)
        assert homes.lost(*SERVERS) == []
        new = Homes(two.farm.listen, two.farm.ca).settle(SERVERS)
        assert new.lost(*SERVERS) == []
    finally:
        two.etcd.start()
    eventually(two.etcd.works)
    two.registry.settles()
    drains_and_comes_back(two, "s1")
    for one in (homes, new):
        assert one.lost(*SERVERS) == []


@pytest.mark.parametrize("two", [pytest.param("etcd", marks=needs_etcd)], indirect=True)
def test_a_server_of_another_farm_in_the_same_etcd_has_no_effect(two: Two, tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(
        f'[farm]\nname="another"\nstate_dir="."\nregistry="{two.registry.place.url}"\n'
        + local_servers("s9")
    )
    two.registry.settles()
    before = two.registry.view()
    another = Registered(Place(two.registry.place.url, tmp_path, "another"))
    command = [*COMMAND, "server", "--config", str(tmp_path / "farm.toml"), "--name", "s9"]
    with process(*command, cwd=tmp_path):
        another.eventually(lambda view: "s9" in view.servers)
        after = two.registry.view()
    assert after.parts == before.parts
    assert after.wishes == before.wishes
    assert after.servers.keys() == set(SERVERS)
