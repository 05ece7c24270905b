"""farm.json says what is true, or is not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from homing.farm.processes.announcement import AGAIN, Announcement
from tests.logs import log

OLD, NEW = {"balancer_pid": 1}, {"balancer_pid": 2}


def content(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("call", ["open", "replace"])
def test_what_cannot_be_written_is_removed_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    clock, path = Clock(), tmp_path / "farm.json"
    one = Announcement(clock, path)
    one.write(OLD)
    assert content(path) == OLD

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with log("homing.farm.processes.announcement") as said:
        with monkeypatch.context() as patched:
            patched.setattr(os, call, full)
            one.write(NEW)
            assert list(tmp_path.iterdir()) == []
            clock.pump([AGAIN] * 5)
            assert list(tmp_path.iterdir()) == []
        clock.advance(AGAIN)
    assert content(path) == NEW
    assert len([line for line in said if "No space left" in line]) == 1
    assert len([line for line in said if "written again" in line]) == 1
    assert not clock.getDelayedCalls()


def test_what_is_not_true_any_more_is_not_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, path = Clock(), tmp_path / "folder" / "farm.json"
    one = Announcement(clock, path)
    one.write(OLD)  # there is no folder
    path.parent.mkdir()
    one.outdated()
    clock.advance(10 * AGAIN)
    assert content(path) is None
    one.write(NEW)
    assert content(path) == NEW
    one.remove()
    assert list(path.parent.iterdir()) == []
