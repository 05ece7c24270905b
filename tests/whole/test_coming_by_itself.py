"""Servers that come by themselves: no farm.toml names them, and the farm takes them or says no."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, homing, local_servers, process
from tests.reactor import eventually
from tests.whole.homes import Homes
from tests.whole.registered import Registered

OWN = b"SRVA".hex()


@pytest.fixture(scope="module", name="farm")
def farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """Its scheme is not the one that a server without a farm.toml takes for granted."""
    folder = tmp_path_factory.mktemp("visited")
    with running(
        folder, config_of(folder, local_servers("s1"), more='[session_ids]\nscheme="bits"')
    ) as farm:
        yield farm


def comes(farm: LocalFarm, name: str, log: Path, *options: str) -> AbstractContextManager[object]:
    """A server that knows nothing but the registry."""
    registry = f"sqlite:{farm.state_dir}/registry.sqlite"
    command = [*COMMAND, "server", "--registry", registry, "--name", name, *options]
    return process(*command, cwd=log.parent, out=log)


def test_a_server_that_knows_only_the_registry_gets_clients_who_resume(
    farm: LocalFarm, tmp_path: Path
) -> None:
    where = ["--address", f"tcp:127.0.0.1:{free_port()}", "--state-dir", str(farm.state_dir)]
    homes = Homes(farm.listen, farm.ca)
    with comes(farm, "s5", tmp_path / "log", *where):
        homes.settle(["s5", "s1"])
        assert homes.lost("s1", "s5") == []
        registry = Registered.of(farm.state_dir)
        registry.eventually(lambda view: view.wishes["s5"].value.source == "itself")
        registry.settles()
    assert homes.lost("s1") == []


def test_who_comes_under_a_name_that_is_taken_is_told_and_the_owner_goes_on(
    farm: LocalFarm, tmp_path: Path
) -> None:
    homes = Homes(farm.listen, farm.ca).settle(["s1"])
    before = Registered.of(farm.state_dir).view()
    log = tmp_path / "log"
    with comes(farm, "s1", log, "--address", f"tcp:127.0.0.1:{free_port()}"):
        eventually(
            lambda: "another server is there under the name s1, at unix:s1.sock" in log.read_text()
        )
        assert homes.lost("s1") == []
    after = Registered.of(farm.state_dir).view()
    assert after.parts == before.parts
    assert after.servers["s1"].value.incarnation == before.servers["s1"].value.incarnation


def with_ids(farm: LocalFarm, folder: Path, name: str, prefix: str) -> list[str]:
    """A farm.toml of a server that brings its own identifiers."""
    folder.mkdir()
    (folder / "farm.toml").write_text(
        f'[farm]\nstate_dir="{farm.state_dir}"\n[[server]]\nname="{name}"\n'
        f'address="tcp:127.0.0.1:{free_port()}"\nids={{prefix="{prefix}"}}\n'
    )
    return ["--config", str(folder / "farm.toml")]


def test_who_brings_identifiers_is_followed_and_an_overlap_is_refused_with_both_names(
    farm: LocalFarm, tmp_path: Path
) -> None:
    first, log = with_ids(farm, tmp_path / "s7", "s7", OWN), tmp_path / "s8.log"
    with comes(farm, "s7", tmp_path / "s7.log", *first):
        homes = Homes(farm.listen, farm.ca).settle(["s7"])
        assert homes.lost("s7") == []
        second = with_ids(farm, tmp_path / "s8", "s8", f"{OWN}00")
        with comes(farm, "s8", log, *second):
            words = 'the ids of "s8" and "s7" overlap'
            eventually(lambda: words in log.read_text())
            status = json.loads(
                homing(
                    "status", "--json", "--config", farm.state_dir / "farm.toml", cwd=tmp_path
                ).out
            )
            (refusal,) = status["refusals"]
            assert refusal["server"] == "s8"
            assert words in refusal["why"]
            assert homes.lost("s7") == []
