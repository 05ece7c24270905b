"""The registries that the conformance suite runs on; a new one adds a rig and its name here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reactor import call
from tests.shared.registry.rig import Client, MemoryRig, Rig, SqliteRig

RIGS = ("memory", "sqlite")


@pytest.fixture(name="rig", params=RIGS)
def rig_(request: pytest.FixtureRequest) -> Rig:
    """A registry with nothing in it."""
    rig: Rig = request.getfixturevalue(f"{request.param}_rig")
    return rig


@pytest.fixture
def memory_rig() -> Rig:
    return MemoryRig()


@pytest.fixture
def sqlite_rig(tmp_path: Path) -> Rig:
    return SqliteRig(tmp_path / "registry.sqlite")


@pytest.fixture
def client(rig: Rig) -> Iterator[Callable[[], Client]]:
    """Makes clients onto the registry."""
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(call(rig.client)))
        return made[-1]

    yield make
    for one in made:
        one.close()
