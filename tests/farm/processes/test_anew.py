"""A farm may start with another scheme: what there was of the one before is not in its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.farm.config.farm_toml import load
from homing.farm.config.faults import CannotStart
from homing.farm.config.sections import FarmConfig
from homing.farm.processes.anew import begin_anew
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import BalancerPresence, FarmValue
from homing.shared.registry.interface import Transaction
from homing.shared.registry.sqlite.database import Database
from tests.processes import demo_farm, homing, local_servers


def farm(folder: Path, scheme: str, registry: str = "sqlite:registry.sqlite") -> FarmConfig:
    """A farm.toml, loaded."""
    path = folder / "farm.toml"
    path.write_text(
        f'[farm]\nstate_dir = "."\nregistry = "{registry}"\n'
        f'[session_ids]\nscheme = "{scheme}"\n{local_servers("s1")}'
    )
    return load(path)


@pytest.fixture(name="database")
def database_(tmp_path: Path) -> Database:
    """That of a farm which ran by the scheme range."""
    database = Database(tmp_path / "registry.sqlite", lambda path: None)
    database.commit(Transaction({keys.FARM: 0}, {keys.FARM: encode(FarmValue("range"))}))
    (tmp_path / "table-balancer-1").write_text("saved")
    return database


def waits(folder: Path, scheme: str, patience: float = 0.0) -> tuple[str | None, list[str]]:
    """What came of a start, and what was said."""
    said: list[str] = []
    return begin_anew(farm(folder, scheme), said.append, patience), said


def test_with_another_scheme_nothing_of_the_state_before_is_left(
    tmp_path: Path, database: Database
) -> None:
    before = database.read()
    seen = database.changes(("", 0))
    assert seen is not None
    assert waits(tmp_path, "hash") == ("range", [])
    now = database.changes(seen[0])
    assert now is not None, "who follows learns of it"
    assert (now[1].puts, now[1].is_whole) == ({}, True)
    assert now[1].revision > before.revision
    assert not (tmp_path / "table-balancer-1").exists(), "or it would be put back"


def test_with_the_same_scheme_all_of_it_stays(tmp_path: Path, database: Database) -> None:
    before = database.read()
    assert waits(tmp_path, "range") == (None, [])
    assert database.read() == before
    assert (tmp_path / "table-balancer-1").exists()


def test_without_a_registry_or_a_state_before_nothing_is_made(tmp_path: Path) -> None:
    for registry in ("none", "etcd:http://localhost:1", "sqlite:registry.sqlite"):
        assert begin_anew(farm(tmp_path, "hash", registry), print, 0.0) is None
    assert [one.name for one in tmp_path.iterdir()] == ["farm.toml"]


def test_a_farm_that_still_runs_by_the_scheme_before_is_not_robbed_of_its_state(
    tmp_path: Path, database: Database
) -> None:
    lease = database.grant(600)
    b2 = keys.balancer("b2")
    value = encode(BalancerPresence("i", "elsewhere"))
    database.commit(Transaction({b2: 0}, {b2: value}, lease=lease))
    before = database.read()
    with pytest.raises(CannotStart, match='scheme "range", and b2 are still there: stop them'):
        waits(tmp_path, "hash")
    assert database.read() == before
    assert (tmp_path / "table-balancer-1").exists()


def test_who_was_killed_is_waited_for_and_that_is_said(tmp_path: Path, database: Database) -> None:
    lease = database.grant(0.3)
    b2 = keys.balancer("b2")
    value = encode(BalancerPresence("i", "elsewhere"))
    database.commit(Transaction({b2: 0}, {b2: value}, lease=lease))
    before, (said,) = waits(tmp_path, "hash", 30)
    assert before == "range"
    assert said.endswith("b2 are still there; waiting up to 30 s for their end")


def test_a_registry_that_cannot_be_read_is_left_to_those_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "registry.sqlite").write_text("something else" * 100)
    assert waits(tmp_path, "hash") == (None, [])
    assert (tmp_path / "registry.sqlite").read_text() == "something else" * 100


def test_a_demo_farm_starts_with_another_scheme_in_the_same_folder(tmp_path: Path) -> None:
    for scheme in ("range", "hash"):
        with demo_farm(tmp_path, "--servers", "2", "--scheme", scheme) as running:
            said = homing("status", "--config", tmp_path / "farm.toml", cwd=tmp_path).out
            assert f"scheme {scheme}," in said
            anew = "the farm had the scheme range before: it begins with an empty registry"
            assert (anew in running.log.read_text()) is (scheme == "hash")
