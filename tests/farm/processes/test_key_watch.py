"""A new farm key comes into force without a restart, and what is wrong with it is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from homing.farm.config.keys import Keys
from homing.farm.processes.key_watch import EVERY, KeyWatch
from homing.shared.errors import HomingError
from tests.logs import log


class Watched:
    """A farm's key file under watch."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys(folder)
        self.in_force = self._read()
        self.watch = KeyWatch(self.keys.farm_key, self._apply)
        self.clock = Clock()
        self.watch.clock = self.clock
        self.watch.startService()

    def _read(self) -> str:
        self.keys.farm_ciphers()
        return self.keys.farm_key.read_text()

    def _apply(self) -> None:
        self.in_force = self._read()

    def look(self) -> list[str]:
        """What is logged at the next look."""
        with log() as lines:
            self.clock.advance(EVERY)
        return lines


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """One."""
    one = Watched(tmp_path)
    yield one
    one.watch.stopService()


def test_a_key_that_changes_is_in_force_at_the_next_look(watched: Watched) -> None:
    assert watched.look() == []
    watched.keys.announce_farm_key()
    (said,) = watched.look()
    assert "is in force" in said
    assert watched.in_force == watched.keys.farm_key.read_text()
    assert watched.look() == []


def test_a_key_that_others_could_read_is_in_force_once_they_cannot(watched: Watched) -> None:
    before = watched.in_force
    watched.keys.announce_farm_key()
    watched.keys.farm_key.chmod(0o644)
    (said,) = watched.look()
    assert "chmod 600 it" in said
    assert watched.in_force == before
    watched.keys.farm_key.chmod(0o600)
    (said,) = watched.look()
    assert "is in force" in said
    assert watched.in_force == watched.keys.farm_key.read_text()


def test_a_key_that_is_gone_is_missed_before_a_restart_makes_another(watched: Watched) -> None:
    kept, before = watched.keys.farm_key.read_text(), watched.in_force
    watched.keys.farm_key.unlink()
    (said,) = watched.look()
    assert "is gone" in said
    assert watched.in_force == before
    assert watched.look() == []
    watched.keys.farm_key.write_text(kept)
    watched.keys.farm_key.chmod(0o600)
    assert len(watched.look()) == 1


def test_a_rotation_that_cannot_write_says_so(watched: Watched) -> None:
    watched.keys.farm_key.with_name(".farm.key.new").mkdir()
    with pytest.raises(HomingError, match=r"cannot write .*farm\.key"):
        watched.keys.announce_farm_key()
