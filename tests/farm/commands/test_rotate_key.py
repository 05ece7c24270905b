"""homing rotate-key: what is left when it is interrupted, and when two run at once."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from homing.farm.config.keys import Keys
from homing.farm.processes.run import COMMAND
from tests.processes import at_once, config_of, homing, local_servers, process
from tests.reactor import eventually


@pytest.fixture(name="key")
def key_(tmp_path: Path) -> Path:
    """The key file of a farm."""
    config_of(tmp_path, local_servers("s1"), more='[session_ids]\nscheme="keyed"\n')
    keys = Keys(tmp_path / "keys")
    keys.farm_ciphers()
    return keys.farm_key


ROTATE = ("rotate-key", "--config", "farm.toml")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_change_is_withdrawn(key: Path, tmp_path: Path, by: signal.Signals) -> None:
    before = key.read_text()
    with process(*COMMAND, *ROTATE, cwd=tmp_path) as one:
        eventually(lambda: key.read_text() != before)
        one.send_signal(by)
        assert one.wait(10) == 128 + by
    assert key.read_text() == before


def test_of_two_at_once_the_second_sees_the_change_of_the_first(key: Path, tmp_path: Path) -> None:
    before = key.read_text()
    rotate = partial(homing, *ROTATE, cwd=tmp_path)
    one, other = sorted(at_once(rotate, rotate), key=lambda ran: ran.status)
    assert (one.status, other.status) == (0, 1)
    assert "; waiting up to " in other.err
    assert "would be lost" in other.err
    assert key.read_text().splitlines()[1:] == before.splitlines()
