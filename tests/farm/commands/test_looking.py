"""`homing check` and `homing explain` show a farm as its registry has it, and change nothing."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from homing.farm.config.farm_toml import load
from homing.farm.wishes import transactions
from homing.server.ownership import must_be_ours_if_there
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    BalancerPresence,
    Exceptions,
    FarmValue,
    PartValue,
    ServerFacts,
    ServerState,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.registry.sqlite.database import NOTHING, Database
from tests.etcd_process import needs_etcd, one_etcd
from tests.farm.commands.ran_here import Here, lines
from tests.processes import homing, local_servers

FARM = local_servers("s1", "s2")
LIVES_AT_S2 = "484f4d4500c00000" + 24 * "5c"
"""An identifier in part 3 of 1,024."""


class Registry:
    """The registry of a farm that has been running; its leases began when the machine started."""

    def __init__(self, folder: Path) -> None:
        self.toml = folder / "farm.toml"
        self.toml.write_text(FARM)
        state = folder / "homing-state"
        state.mkdir(mode=0o700)
        self.database = Database(state / "registry.sqlite", must_be_ours_if_there, lambda: 0.0)

    @property
    def view(self) -> View:
        view = View()
        if found := self.database.changes(NOTHING):
            view.apply(found[1])
        return view

    def put(self, key: str, value: object, lease: int = 0) -> None:
        assert self.database.commit(self.view.change({key: value}, lease=lease)) is not None

    def run(self) -> None:
        """Parts have moved: s1 drains, s5 has come by itself, s9 is gone but for its part."""
        self.put(keys.FARM, FarmValue("range", "484f4d45", 10))
        for one in transactions(load(self.toml), self.view):
            assert self.database.commit(one) is not None
        draining = Wish(ServerFacts("unix:s1.sock"), ServerState.DRAINING, digest=self.digest("s1"))
        self.put(keys.wish("s1"), draining)
        self.put(keys.wish("s5"), Wish(ServerFacts("tcp:10.0.0.9:8443"), source="itself"))
        for number, owner in enumerate(("s1", "s1", "s2", "s5", "s9", "s2", "s2")):
            self.put(keys.part(number), PartValue(owner, drawn=True))
        self.put(keys.page(3, "s2", 0), Exceptions((LIVES_AT_S2,)))

    def digest(self, name: str) -> str:
        return self.view.wishes[name].value.digest


@pytest.fixture(name="registry")
def registry_(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path)
    registry.run()
    yield registry
    registry.database.close()


@pytest.fixture(name="explain")
def explain_(registry: Registry, here: Here) -> Here:
    return lambda identifier: here("explain", "-c", registry.toml.name, identifier)


def test_a_part_that_has_moved_is_where_it_is_now(registry: Registry, explain: Here) -> None:
    ran = explain("484f4d4500c00000")
    assert (ran.status, ran.err) == (0, "")
    source = f"as the registry has it, epoch {registry.view.routing}"
    assert f"in table 130, {source}: an entry of s5\n     part 3\n     from 484f4d4500c0" in ran.out
    assert "214  forward to s5, at tcp:10.0.0.9:8443\n" in ran.out  # of which farm.toml knows not


def test_an_exception_stays_at_the_server_where_it_lives(explain: Here) -> None:
    ran = explain(LIVES_AT_S2)
    assert ": an exception of s2\n     exceptions in part 3: 1\n" in ran.out
    assert "214  forward to s2, at unix:s2.sock\n" in ran.out


def test_who_drains_gets_only_clients_that_come_back(explain: Here) -> None:
    back = explain("484f4d45")
    assert "214  forward to s1, which gets no new clients, at unix:s1.sock\n" in back.out
    assert "the policy round-robin chooses one of s2, s5\n" in explain("ee" * 32).out


def test_a_server_that_is_gone_gets_nobody(explain: Here) -> None:
    ran = explain("484f4d4501")
    assert ": an entry of s9, which is not of the farm any more\n" in ran.out
    assert "210  the policy round-robin chooses one of s2, s5\n" in ran.out


def test_where_nobody_takes_new_clients_that_is_said(registry: Registry, explain: Here) -> None:
    for name in ("s2", "s5"):
        gone = Wish(ServerFacts("unix:x.sock"), ServerState.GONE, digest=registry.digest(name))
        registry.put(keys.wish(name), gone)
    assert "chooses one of nobody: no server takes new clients\n" in explain("ee" * 32).out
    assert "while none of them is up, nobody gets it\n" in explain("484f4d45").out


def test_check_shows_a_line_for_neighbours_that_one_server_owns(
    registry: Registry, here: Here
) -> None:
    registry.put(keys.wish("s6"), Wish(ServerFacts("unix:\x1b[2J.sock"), source="command"))
    epoch = registry.view.routing
    registry.put(keys.balancer("b1"), BalancerPresence("b1", epoch=epoch))
    ran = here("check", "farm.toml")
    assert ran.status == 0
    title = ran.out.splitlines()[0]
    assert title == f"table 130 of farm.toml, as the registry has it, epoch {epoch}"
    assert [[row[0], row[3]] for row in lines(ran) if "4f4d45" not in row[3]] == [
        ["s1", "parts 0 to 1"],
        ["s2", "exceptions in part 3: 1"],
        ["s2", "part 2"],
        ["s2", "parts 5 to 6"],
        ["s5", "part 3"],
        ["s6", "none"],
        ["s9", "part 4"],
    ]
    assert {tuple(row[:3]) for row in lines(ran) if row[0]} == {
        ("s1", "unix:s1.sock", "handed over, no new clients"),
        ("s2", "unix:s2.sock", "handed over"),
        ("s5", "tcp:10.0.0.9:8443", "relayed"),
        ("s6", "unix:\\x1b[2J.sock", "handed over"),
        ("s9", "", "not of the farm any more"),
    }
    assert "s6: nothing is assigned to it: it gives out no sessions to resume\n" in ran.err
    assert "has changed" not in ran.err


def test_who_only_looks_ends_no_lease_and_writes_nothing(registry: Registry, here: Here) -> None:
    registry.put(keys.balancer("b1"), BalancerPresence("b1"), registry.database.grant(1e-6))
    before = registry.database.changes(NOTHING)  # by the machine's clock the lease is over
    assert here("check", "farm.toml").status == 0
    assert here("explain", "-c", "farm.toml", "484f4d45").status == 0
    assert registry.database.changes(NOTHING) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FARM + local_servers("s3"), "farm.toml has changed (s3): the registry takes that over on"),
        ('[session_ids]\nspare = "5%"\n' + FARM, "farm.toml has changed ([session_ids]): "),
        ('[session_ids]\nscheme = "bits"\n' + FARM, 'but the farm runs by "range", '),
    ],
)
def test_what_the_registry_does_not_know_of_yet_is_said(
    registry: Registry, here: Here, text: str, said: str
) -> None:
    registry.toml.write_text(text)
    ran = here("check", "farm.toml")
    assert ran.status == 0
    assert said in ran.err
    assert "as the registry has it" in ran.out
    assert "s3" not in ran.out


def test_a_registry_in_which_no_farm_is_yet_is_as_before_the_first_start(
    tmp_path: Path, here: Here
) -> None:
    registry = Registry(tmp_path)
    registry.put(keys.balancer("b1"), BalancerPresence("b1"))
    registry.database.close()
    ran = here("check", "farm.toml")
    assert "as the first start will assign it" in ran.out
    assert {row[0] for row in lines(ran) if row[0]} == {"s1", "s2"}


def test_a_registry_that_cannot_be_read_is_said_and_left_as_it_is(
    tmp_path: Path, here: Here
) -> None:
    registry = Registry(tmp_path)
    path = tmp_path / "homing-state" / "registry.sqlite"
    path.write_text("no database at all, but some text that somebody has put here\n" * 20)
    before = path.read_bytes()
    ran = here("explain", "-c", registry.toml.name, "484f4d45")
    assert ran.status == 0
    assert "the registry cannot be read, so nobody knows here what has moved since: " in ran.err
    assert ", as the first start will assign it: an entry of s" in ran.out
    assert path.read_bytes() == before


def test_etcd_that_does_not_answer_delays_nobody_for_long(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"etcd:http://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "farm.toml").write_text(f'[farm]\nregistry = "{url}"\n' + FARM)
        ran = homing("check", "farm.toml", cwd=tmp_path)
    assert ran.status == 0
    assert "no answer within 2 s" in ran.err
    assert "as the first start will assign it" in ran.out


@needs_etcd
def test_the_registry_in_etcd_is_shown_too(registry: Registry, tmp_path: Path) -> None:
    with one_etcd() as etcd:
        for key in registry.view.keys:
            value = registry.database.read().puts[key].value
            name = base64.b64encode(f"homing/{key}".encode()).decode()
            etcd.post("/v3/kv/put", key=name, value=base64.b64encode(value).decode())
        registry.toml.write_text(f'[farm]\nregistry = "etcd:{etcd.client}"\n' + FARM)
        ran = homing("explain", "-c", "farm.toml", LIVES_AT_S2, cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert "as the registry has it, epoch " in ran.out
    assert ": an exception of s2\n" in ran.out
