"""What is killed, stopped or broken costs what it held and nothing else; the farm goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.shared.farm_state import keys
from homing.shared.registry.interface import LARGEST_VALUE
from tests.processes import config_of, homing, kill, local_servers, pid_of
from tests.reactor import eventually
from tests.sqlite_files import checkpoint
from tests.whole.homes import Homes
from tests.whole.registered import Registered, moving, owners

ALONE, GROUP = ("s1", "s2"), ("g1", "g2")
SERVERS = local_servers(*ALONE) + local_servers(*GROUP, more='group="g"')


@contextmanager
def ours(folder: Path) -> Iterator[LocalFarm]:
    arguments = config_of(folder, SERVERS, more="source_rate=0\nserver_excess=0")
    with running(folder, arguments) as farm:
        yield farm


@pytest.fixture(scope="module", name="farm")
def farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    with ours(tmp_path_factory.mktemp("survives")) as farm:
        yield farm


def registry(farm: LocalFarm) -> Registered:
    return Registered.of(farm.state_dir)


def commands(farm: LocalFarm, *arguments: str) -> None:
    """Ask the farm for something, and do not wait for it."""
    file = str(farm.state_dir / "farm.toml")
    done = homing(*arguments, "--no-wait", "--config", file, cwd=farm.state_dir)
    assert done.status == 0, done.err


def says(farm: LocalFarm, words: str, since: int = 0) -> bool:
    return words in farm.log.read_text(errors="replace")[since:]


def test_a_balancer_killed_in_the_middle_of_moves_loses_nothing(farm: LocalFarm) -> None:
    homes = Homes(farm.listen, farm.ca).settle(ALONE)
    before = farm.facts()["balancer_pid"]
    commands(farm, "servers", "drain", "s2", "--how", "exceptions")
    kill(before)
    assert homes.lost(*ALONE) == []
    registry(farm).eventually(lambda view: not view.owned.get("s2") and not moving(view))
    assert homes.lost(*ALONE) == []
    commands(farm, "servers", "add", "s2")
    registry(farm).eventually(lambda view: view.owned.get("s2") and not moving(view))
    assert homes.lost(*ALONE) == []


def test_a_server_killed_costs_its_own_sessions_and_keeps_its_parts(farm: LocalFarm) -> None:
    homes = Homes(farm.listen, farm.ca).settle((*ALONE, *GROUP))
    registry(farm).settles()
    before, victim = owners(registry(farm).view()), pid_of(farm, "s1")
    kill(victim)
    eventually(lambda: (farm.state_dir / "farm.json").exists() and pid_of(farm, "s1") != victim)
    assert homes.lost("s2") == []
    assert owners(registry(farm).view()) == before
    again = Homes(farm.listen, farm.ca).settle(ALONE)
    assert again.lost(*ALONE) == []
    registry(farm).settles()
    assert owners(registry(farm).view()) == before


def test_a_farm_killed_as_a_whole_has_the_same_parts_and_the_sessions_of_groups(
    tmp_path: Path,
) -> None:
    with ours(tmp_path) as farm:
        homes = Homes(farm.listen, farm.ca).settle(GROUP)
        registry(farm).settles()
        before = owners(registry(farm).view())
        facts = farm.facts()
        commands(farm, "servers", "drain", "s2", "--how", "drain")
        for pid in (facts["pid"], facts["balancer_pid"], *(one["pid"] for one in facts["servers"])):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        farm.process.wait()
    with ours(tmp_path) as farm:
        there = registry(farm)
        there.eventually(lambda view: not view.owned.get("s2") and not moving(view))
        after = owners(there.view())
        assert {part: after[part] for part in before if before[part] != "s2"} == {
            part: owner for part, owner in before.items() if owner != "s2"
        }
        homes.listen = farm.listen
        assert unknown(homes) == []
        again = Homes(farm.listen, farm.ca).settle(["s1"])
        assert again.lost("s1") == []


def unknown(homes: Homes) -> list[str]:
    """The clients of the group that none of its members knows."""
    return [one for one in homes.lost(*GROUP) if "'resumed': False" in one]


def test_who_stands_still_for_longer_than_a_lease_goes_on_as_if_nothing_had_been(
    farm: LocalFarm,
) -> None:
    there = registry(farm)
    homes = Homes(farm.listen, farm.ca).settle(ALONE)
    there.settles()
    before, stopped = owners(there.view()), (pid_of(farm, "s1"), farm.facts()["balancer_pid"])
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        there.eventually(lambda view: not view.balancers and "s1" not in view.servers)
        there.eventually(lambda view: view.single(keys.MANAGER) is None)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert homes.lost(*ALONE) == []
    there.eventually(lambda view: view.balancers and "s1" in view.servers)
    there.settles()
    assert homes.lost(*ALONE) == []
    assert owners(there.view()) == before
    assert (pid_of(farm, "s1"), farm.facts()["balancer_pid"]) == stopped


def test_secrets_are_not_in_the_registry(farm: LocalFarm) -> None:
    Homes(farm.listen, farm.ca).settle((*ALONE, *GROUP))
    everything = b"".join(
        path.read_bytes() for path in farm.state_dir.glob("registry.sqlite*")
    ) + b"".join(item.value for item in registry(farm).batch().puts.values())
    (group_key,) = (farm.state_dir / "keys").iterdir()
    private = (farm.state_dir / "server-key.pem").read_bytes().splitlines()[1:-1]
    secrets = [*group_key.read_bytes().split(), *private]
    assert len(secrets) > 2
    for secret in secrets:
        assert secret not in everything


STRANGE = {
    "parts/0001023": b'{"v":99,"owner":"s2"}',
    "wishes/s7": b"x" * (LARGEST_VALUE + 1 - 200),
    "wishes/s8": b'{"v":1,"facts":{"address":5}}',
    "farms": b"{}",
    "exceptions/0000002/s1/0000": b'{"v":1,"identifiers":5}',
}
"""What nobody of this version has written: the part is of a later one."""


def test_what_nobody_understands_is_ignored_with_one_line_and_clients_lose_nothing(
    farm: LocalFarm,
) -> None:
    there = registry(farm)
    homes = Homes(farm.listen, farm.ca).settle(ALONE)
    since = len(farm.log.read_text())
    there.put(STRANGE)
    try:
        _are_ignored(farm, homes, since)
    finally:
        there.put(dict.fromkeys(STRANGE))
    there.settles()
    again = Homes(farm.listen, farm.ca).settle(ALONE)
    assert again.lost(*ALONE) == homes.lost(*ALONE) == []


def _are_ignored(farm: LocalFarm, homes: Homes, since: int) -> None:
    for key in STRANGE:
        words = key.removeprefix("exceptions/")
        eventually(lambda words=words: says(farm, words, since))  # type: ignore[misc]
    assert homes.lost(*ALONE) == []
    assert registry(farm).batch().puts["parts/0001023"].value == STRANGE["parts/0001023"]
    said = farm.log.read_text()[since:].splitlines()
    for key in ("parts/0001023", "wishes/s7", "wishes/s8"):
        for who in ("balancer", "s1 "):
            lines = [one for one in said if key in one and one[9:].startswith(who)]
            assert len(lines) <= 1, lines


@pytest.mark.parametrize("what", ["broken", "removed"])
def test_a_registry_that_is_lost_is_said_loudly_and_made_whole_again(
    farm: LocalFarm, what: str
) -> None:
    before = Homes(farm.listen, farm.ca).settle(ALONE)
    since, file = len(farm.log.read_text()), farm.state_dir / "registry.sqlite"
    if what == "broken":
        checkpoint(file)
        os.truncate(file, 8192)
    else:
        for path in farm.state_dir.glob("registry.sqlite*"):
            path.unlink()
    there = registry(farm)
    eventually(file.exists)
    there.eventually(lambda view: all(view.owned.get(one) for one in (*ALONE, *GROUP)))
    there.eventually(lambda view: view.servers.keys() == {*ALONE, *GROUP})
    there.settles()
    assert says(farm, "error: ", since)
    assert before.lost(*ALONE) == []
    homes = Homes(farm.listen, farm.ca).settle((*ALONE, *GROUP))
    assert homes.lost(*ALONE) == []
    commands(farm, "resize", "s1", "10%")
    there.eventually(lambda view: 0 < len(view.owned["s1"]) < 100 and not moving(view))
    assert homes.lost(*ALONE) == []
