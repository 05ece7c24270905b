"""The commands as users run them, on a farm in a real registry, with its real manager."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from homing.balancer.management.manager import manage
from homing.farm.commands import main
from homing.farm.config.farm_toml import load
from homing.farm.processes.run import COMMAND
from homing.farm.status import status
from homing.farm.wishes import transactions
from homing.server.ownership import must_be_ours_if_there
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    BalancerPresence,
    FarmValue,
    PartValue,
    ServerPresence,
    ServerState,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.registry.sqlite.database import NOTHING, Database
from homing.shared.schemes import SCHEMES
from tests.farm.managed import MANAGER
from tests.processes import Ran, homing, local_servers, process
from tests.reactor import eventually

FARM = '[farm]\nstate_dir = "."\nregistry = "sqlite:registry.sqlite"\n' + local_servers("s1", "s2")
BY_HAND = '[farm]\nregistry = "none"\n' + local_servers("s1")


class FarmInAFile:
    """A farm whose registry is a file; `turn` does what balancers and servers would do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "farm.toml"
        path.write_text(FARM)
        self._database = Database(folder / "registry.sqlite", must_be_ours_if_there)
        self._seen, self._view = NOTHING, View()
        self.put(keys.FARM, FarmValue("range", "484f4d45", 8))
        for one in transactions(load(path), self.view):
            assert self._database.commit(one) is not None
        self.put(keys.MANAGER, MANAGER)
        self.put(keys.balancer("balancer-1"), BalancerPresence("b1"))
        self.turn()

    @property
    def view(self) -> View:
        if found := self._database.changes(self._seen):
            self._seen, batch = found
            self._view.apply(batch)
        return self._view

    def wish(self, name: str) -> Wish:
        return self.view.wishes[name].value

    def put(self, key: str, value: object | None) -> None:
        self._database.commit(self.view.change({key: value}))

    def turn(self) -> None:
        before = None
        while self.view.revision != before:  # until nothing is due any more
            before = self._view.revision
            assert self._view.farm is not None
            scheme = SCHEMES[self._view.farm.scheme]
            for one in tuple(manage(self._view, MANAGER, scheme, frozenset())):
                self._database.commit(one)
            self._servers()

    def _servers(self) -> None:
        """Who is wished for is up, and follows; who is removed and owns nothing ends."""
        view = self.view
        for name, known in tuple(view.wishes.items()):
            wish: Wish = known.value
            there = view.servers.get(name)
            if wish.state is ServerState.REMOVED and not view.owned.get(name):
                if there is not None:
                    self.put(keys.server(name), None)
            elif there is None or there.value.epoch < view.routing:
                self.put(keys.server(name), ServerPresence(wish.facts, "1", epoch=view.routing))

    def runs(self, *arguments: str) -> Ran:
        """Run a command, and the farm until it ends."""
        started = [*COMMAND, *arguments]
        with subprocess.Popen(
            started, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            deadline = time.monotonic() + 60
            while running.poll() is None:
                assert time.monotonic() < deadline
                self.turn()
                time.sleep(0.1)
            out, err = running.communicate()
        return Ran(running.returncode, out, err)

    def status(self) -> dict[str, Any]:
        ran = homing("status", "--json", cwd=self.folder)
        assert (ran.status, ran.err) == (0, "")
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def shares(self) -> dict[str, float]:
        found = status(self.view, datetime.now(UTC))
        return {one.name: round(one.share, 2) for one in found.servers}


@pytest.fixture(name="farm")
def farm_(tmp_path: Path) -> FarmInAFile:
    return FarmInAFile(tmp_path)


def test_a_farm_changes_as_people_ask_step_by_step(farm: FarmInAFile) -> None:
    assert farm.shares() == {"s1": 0.4, "s2": 0.4}
    added = farm.runs("servers", "add", "s3", "--weight", "2")
    assert (added.status, added.out) == (0, "")
    assert added.err.endswith("s3 is up and has its identifiers\n")
    assert farm.shares()["s3"] > 0.1
    resized = farm.runs("resize", "s1", "10%")
    assert (resized.status, resized.err.splitlines()[-1]) == (0, "s1 is resized to 10%")
    assert farm.shares()["s1"] == 0.08  # 10% of what is not spare
    evened = farm.runs("reassign", "--how", "drain")
    assert (evened.status, evened.err.splitlines()[-1]) == (0, "the farm is even")
    assert round(sum(farm.shares().values()), 2) == 0.8
    drained = farm.runs("servers", "drain", "s2")
    assert (drained.status, drained.err.splitlines()[-1]) == (0, "s2 is drained")
    assert farm.shares()["s2"] == 0
    removed = farm.runs("servers", "remove", "s3", "--timeout", "30")
    assert (removed.status, removed.err.splitlines()[-1]) == (0, "s3 is removed")
    assert farm.shares().keys() == {"s1", "s2"}


def test_people_see_a_table_and_programs_the_keys_of_the_contract(farm: FarmInAFile) -> None:
    ran = homing("status", "--config", "farm.toml", cwd=farm.folder)
    assert ran.status == 0
    assert "manager: balancer-1\n" in ran.out
    assert "│ s1     │ unix:s1.sock │ yes │ active │" in ran.out
    found = farm.status()
    assert found.keys() >= set("epoch manager balancers servers spare parts moves".split())
    keys_of_a_part = {"set", "owner", "state", "next", "expires", "exceptions"}
    assert all(one.keys() == keys_of_a_part for one in found["parts"])
    assert all(one["next"] is None for one in found["parts"])


def test_who_does_not_wait_gets_an_answer_at_once(farm: FarmInAFile) -> None:
    ran = homing("servers", "drain", "s1", "--how", "drain", "--no-wait", cwd=farm.folder)
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == "asked for; homing status shows how far it is\n"
    assert farm.wish("s1").state is ServerState.DRAINING


def test_no_file_is_needed_where_the_registry_is_named(farm: FarmInAFile) -> None:
    (farm.folder / "farm.toml").unlink()
    ran = homing("status", "--registry", "sqlite:registry.sqlite", cwd=farm.folder)
    assert ran.status == 0


def test_a_demo_farm_is_found_in_its_folder(farm: FarmInAFile) -> None:
    above = farm.folder / "above"
    above.mkdir()
    (above / "homing-state").symlink_to(farm.folder)
    assert homing("status", cwd=above).status == 0


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_the_wish_in_force(
    farm: FarmInAFile, by: signal.Signals
) -> None:
    with process(*COMMAND, "servers", "add", "s3", cwd=farm.folder) as one:
        eventually(lambda: "s3" in farm.view.wishes)
        one.send_signal(by)
        assert one.wait(10) == 128 + by
    assert farm.wish("s3").state is ServerState.ACTIVE


def test_what_takes_too_long_fails_and_stays_in_force(farm: FarmInAFile) -> None:
    part = min(farm.view.owned["s1"])
    farm.put(keys.part(part), PartValue("s1", drawn=True))
    ran = farm.runs("servers", "drain", "s1", "--timeout", "1.5")
    assert ran.status == 1
    assert "homing: not complete after 1.5 s: s1 owns " in ran.err
    assert ran.err.endswith("; what was asked stays in force\n")
    farm.turn()
    (move,) = farm.status()["moves"]
    assert (move["part"], move["from"], move["step"]) == (part, "s1", "leaving")


def test_what_cannot_be_fails_in_words(farm: FarmInAFile) -> None:
    ran = homing("resize", "s9", "10%", cwd=farm.folder)
    assert (ran.status, ran.err) == (1, "homing: s9 is no server of the farm; there are s1, s2\n")


def test_a_farm_by_hand_and_one_that_never_ran_have_nothing_to_ask(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(BY_HAND)
    ran = homing("status", cwd=tmp_path)
    assert ran.status == 1
    assert 'farm.toml: registry = "none": this farm is configured by hand' in ran.err
    (tmp_path / "farm.toml").write_text(FARM)
    ran = homing("servers", "add", "s3", cwd=tmp_path)
    assert ran.status == 1
    assert f"there is no registry at {tmp_path}/registry.sqlite: has the farm been" in ran.err
    assert not (tmp_path / "registry.sqlite").exists()


ETCD = "etcd:https://10.0.0.7:2379"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status"], "there is no farm.toml nor homing-state/farm.toml: say which farm"),
        (["status", "--registry", "redis:x"], "'redis:x' is no registry; allowed:"),
        (["status", "--registry", "none"], "none: there is nothing to ask"),
        (["status", "--registry", ETCD], "needs --registry-ca, -certificate and -key"),
        (["servers"], "the following arguments are required: WHAT"),
        (["servers", "add", "a b"], "'a b' is not a name"),
        (["servers", "add", "s3", "--share", "0%"], "must be above 0%"),
        (["servers", "add", "s3", "--share", "1%", "--max-ids", "1"], "not allowed with"),
        (["servers", "add", "s3", "--weight", "nan"], "'nan' is not a number above 0"),
        (["servers", "add", "s3", "--address", "s3"], "'s3' is not an address"),
        (["servers", "drain", "s3", "--how", "fast"], "--how: 'fast' is no way; allowed: drain, "),
        (["servers", "drain", "s3", "--timeout", "0"], "is not a number of seconds above 0"),
        (["resize", "s3"], "one of the arguments PERCENT --max-ids is required"),
        (["resize", "s3", "120%"], "'120%' is not a percentage"),
        (["resize", "s3", "1%", "--max-ids", "1"], "not allowed with"),
        (["reassign", "--at", "soon"], "'soon' is no time"),
        (["reassign", "--at", "2001-01-01"], "is over"),
        (["reassign", "--at", "03:30", "--how", "drain"], "goes with --how scheduled, not drain"),
    ],
)
def test_bad_usage_is_said_before_anything_is_asked(
    arguments: Sequence[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        ended: object = main(arguments)
    except SystemExit as error:  # argparse's own
        ended = error.code
    assert ended == 2
    assert words in capsys.readouterr().err
