"""homing reload: new code takes the connections, and no client notices."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import homing as package
from homing.farm.processes.local import LocalFarm, running
from tests.processes import Ran, config_of, demo_farm, homing, is_alive, local_servers
from tests.reactor import eventually
from tests.whole.clients import STAYING, ask, connect, context, visit
from tests.whole.registered import Registered


@pytest.fixture(scope="module", name="farm")
def farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    folder = tmp_path_factory.mktemp("reloaded")
    with demo_farm(folder, "--relay", "--servers", "2", workers=2) as one:
        yield one


def reload(farm: LocalFarm, *options: str) -> Ran:
    """Run the command."""
    path = farm.state_dir / "farm.toml"
    return homing("reload", "--config", path, *options, cwd=farm.state_dir)


class Visitor(threading.Thread):
    """A client that comes back all the time, over new connections or over one."""

    def __init__(self, farm: LocalFarm, stays: bool) -> None:
        super().__init__()
        self.count = 0
        self.lost: list[str] = []
        self._farm = farm
        self._over = threading.Event()
        clients = context(farm.ca, "TLSv1.3")
        first = visit(farm.listen, clients)
        home = first.answer["server"]
        stayed = connect(farm.listen, clients) if stays else None

        def come() -> None:
            if stayed is not None:
                ask(stayed, STAYING)
                return
            seen = visit(farm.listen, clients, first.session)
            if not (seen.reused and seen.answer["server"] == home):
                self.lost.append("a session")

        self._come = come

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self._come()
            except (OSError, AssertionError) as error:
                self.lost.append(repr(error))
                return
            self.count += 1

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join()


def test_no_connection_is_refused_or_ended_and_no_session_lost(farm: LocalFarm) -> None:
    before = farm.facts()["balancer_pids"]
    with Visitor(farm, False) as one, Visitor(farm, False) as other, Visitor(farm, True) as staying:
        ran = reload(farm)
        counts = [each.count for each in (one, other, staying)]
        eventually(lambda: staying.count > counts[2])  # through a process that has retired
    assert ran.status == 0, ran.said
    assert [each.lost for each in (one, other, staying)] == [[], [], []]
    assert all(counts)
    assert not set(before) & set(farm.facts()["balancer_pids"])


def test_a_process_that_retires_lives_as_long_as_its_last_connection(farm: LocalFarm) -> None:
    clients = context(farm.ca, "TLSv1.3")
    ongoing = [connect(farm.listen, clients) for _ in range(16)]
    before = farm.facts()["balancer_pids"]
    assert reload(farm).status == 0
    assert all(ask(one, STAYING)["server"] for one in ongoing)
    names = {"balancer-1", "balancer-1.2"}
    names |= {f"{name}.b" for name in names}
    present = Registered.of(farm.state_dir).view().balancers.keys()
    assert len(present & names) == len(present) == 2  # moves wait for no process that has retired
    for one in ongoing:
        one.close()
    eventually(lambda: not any(map(is_alive, before)), within=30)


def test_the_grace_ends_connections_that_would_keep_old_code_for_ever(farm: LocalFarm) -> None:
    ongoing = connect(farm.listen, context(farm.ca, "TLSv1.3"))
    before = farm.facts()["balancer_pids"]
    assert reload(farm, "--grace", "0").status == 0
    eventually(lambda: not any(map(is_alive, before)), within=30)
    with pytest.raises((OSError, AssertionError)):
        ask(ongoing)
    ongoing.close()


def test_code_that_does_not_start_changes_nothing_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, folder = tmp_path / "code", tmp_path / "state"
    shutil.copytree(Path(package.__file__).parent, code / "homing")
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(code))
    with running(folder, config_of(folder, local_servers("s1"))) as farm:
        before = farm.facts()
        with (code / "homing" / "balancer" / "ingress.py").open("a") as file:
            file.write("\nraise RuntimeError('of a bad release')\n")
        ran = reload(farm)
        assert ran.status == 1
        assert "RuntimeError: of a bad release" in ran.err
        assert farm.facts() == before
        assert visit(farm.listen, context(farm.ca, "TLSv1.3")).answer["server"] == "s1"


def test_where_nobody_can_reload_the_command_says_so(tmp_path: Path) -> None:
    path = config_of(tmp_path, local_servers("s1"))[1]
    ran = homing("reload", "-c", path, cwd=tmp_path)
    assert ran.status == 1
    assert "nobody takes a reload" in ran.err
    assert len(os.listdir(tmp_path)) == 1
