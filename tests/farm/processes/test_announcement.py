"""farm.json says what is true, or is not there; people are told what to try."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from homing.farm.processes.announcement import RETRY, Announcement, address, next_steps, shown
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
            clock.pump([RETRY] * 5)
            assert list(tmp_path.iterdir()) == []
        clock.advance(RETRY)
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
    clock.advance(10 * RETRY)
    assert content(path) is None
    one.write(NEW)
    assert content(path) == NEW
    one.remove()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        ("127.0.0.1:8443", "localhost:8443"),
        ("0.0.0.0:443", "localhost:443"),
        ("[::]:443", "localhost:443"),
        ("[::1]:443", "localhost:443"),
        ("10.0.0.5:443", "10.0.0.5:443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ],
)
def test_the_address_is_one_that_can_be_reached_from_here(listen: str, reached: str) -> None:
    assert address(listen) == reached


def test_the_demo_is_tried_with_its_ca() -> None:
    curl, bench, page = next_steps("127.0.0.1:8443", Path("a state/ca.pem"), True)
    assert curl == (
        "curl --cacert 'a state/ca.pem' -H 'Connection: close' "
        "'https://localhost:8443/session?[1-3]'"
    )
    assert bench == "homing bench hit-rate --connect localhost:8443 --ca 'a state/ca.pem'"
    assert page == "https://localhost:8443/ in a browser that trusts 'a state/ca.pem'"


def test_a_farm_of_ones_own_has_its_own_application_and_certificate() -> None:
    bench, page = next_steps("10.0.0.5:443", None, False)
    assert bench == "homing bench hit-rate --connect 10.0.0.5:443"
    assert page == "https://10.0.0.5:443/ in a browser"


def test_paths_are_short() -> None:
    assert shown(Path.cwd() / "homing-state" / "ca.pem") == os.path.join("homing-state", "ca.pem")
    assert shown(Path("/x")) == "/x"
