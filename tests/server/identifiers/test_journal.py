"""A server that is started again does not give out what clients of before still have."""

from __future__ import annotations

import resource
import struct
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.server.identifiers.journal import Journal
from homing.server.identifiers.reuse_guard import ReuseGuard
from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList
from homing.shared.identifiers import LENGTH
from homing.shared.record import Record

LIFETIME = 100.0
IDS = [bytes([number]) * LENGTH for number in range(4)]


class Machine:
    """A disk and a clock that outlive the server."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.0
        self.path = folder / "given-out" / "s1"
        self.said: list[str] = []
        self.luck = Random(1)
        self.start()

    def start(self) -> None:
        """Start the server, again."""
        self.journal = Journal(self.path, lambda: self.now, self.said.append)
        self.ids = ReuseGuard(Record((IdList(IDS),)), LIFETIME, self.now, self.journal)

    def draw(self) -> bytes:
        return self.ids.draw(self.now, self.luck.randrange, lambda identifier: False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One with an empty disk."""
    return Machine(tmp_path)


def test_a_restart_gives_no_client_the_id_of_another(machine: Machine) -> None:
    given_out = []
    for _ in IDS:
        given_out.append(machine.draw())
        machine.start()
    assert sorted(given_out) == IDS
    with pytest.raises(NoFreeIdentifier):
        machine.draw()
    assert machine.said == []


def test_what_rested_before_a_restart_need_not_rest_again(machine: Machine) -> None:
    first = machine.draw()
    machine.now += 60
    rest = [machine.draw() for _ in IDS[1:]]
    machine.start()
    machine.now += 50
    assert machine.draw() == first
    with pytest.raises(NoFreeIdentifier):
        machine.draw()
    machine.now += 60
    assert [machine.draw() for _ in rest] == rest


def test_what_no_client_got_is_free_after_a_restart(machine: Machine) -> None:
    for _ in IDS:
        last = machine.draw()
    machine.ids.take_back(last)
    machine.start()
    assert machine.draw() == last


def test_others_cannot_read_the_sessions_of_clients(machine: Machine) -> None:
    machine.draw()
    for _ in range(2):
        assert machine.path.stat().st_mode & 0o077 == 0
        machine.start()


def test_the_file_does_not_grow_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homing.server.identifiers.journal._FEW", 10)
    machine.start()
    for _ in range(500):
        machine.now += 60
        machine.draw()
    assert machine.path.stat().st_size <= 40 * 21
    machine.start()
    assert len(machine.journal.read()) == 2


@given(rubbish=st.binary(max_size=200))
def test_a_damaged_file_costs_nothing_but_memory_of_what_was(
    rubbish: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    machine = Machine(tmp_path_factory.mktemp("disk"))
    machine.path.write_bytes(rubbish)
    machine.start()
    assert sorted(machine.draw() for _ in IDS) == IDS


@pytest.mark.parametrize("end", [float("nan"), float("inf"), 1e300, -1.0])
def test_a_time_that_makes_no_sense_blocks_no_id_for_ever(machine: Machine, end: float) -> None:
    machine.path.write_bytes(struct.pack("!32sd", IDS[0], end))
    machine.start()
    machine.now += LIFETIME + 1
    assert sorted(machine.draw() for _ in IDS) == IDS


def test_a_disk_that_takes_nothing_costs_no_session(tmp_path: Path) -> None:
    (tmp_path / "given-out").write_text("a file where a folder should be")
    machine = Machine(tmp_path)
    assert sorted(machine.draw() for _ in IDS) == IDS
    assert ["cannot be" in line for line in machine.said] == [True] * len(machine.said)
    assert 1 <= len(machine.said) <= 2


@pytest.mark.parametrize("size", [40, 41, 79, 80])
def test_an_entry_that_fits_the_disk_in_part_only_spoils_no_other(
    machine: Machine, size: int
) -> None:
    first = machine.draw()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        machine.draw()
        unnoted = machine.draw() if size < 80 else None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    last = machine.draw()
    machine.start()
    assert {first, last} <= set(machine.journal.read())
    assert (unnoted is None) == (machine.said == [])


def test_a_file_that_cannot_be_read_now_is_not_thrown_away(machine: Machine) -> None:
    machine.draw()
    kept = machine.path.read_bytes()
    machine.path.rename(machine.path.with_name("aside"))
    machine.path.mkdir()
    machine.start()
    (said,) = machine.said
    assert "cannot be read" in said
    machine.path.rmdir()
    machine.path.write_bytes(kept)
    machine.start()
    assert len(machine.journal.read()) == 1
