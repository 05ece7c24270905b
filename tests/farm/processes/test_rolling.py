"""The word of `homing reload`, at the parent's side."""

from __future__ import annotations

import socket
from pathlib import Path
from unittest.mock import Mock

import pytest
from twisted.internet.testing import StringTransport

from homing.farm.processes.rolling import FAILED, Rolling, _Asked, socket_path
from homing.farm.processes.workers import Tell


async def _roll(grace: float, tell: Tell) -> None:
    tell(f"for {grace:g} s")
    raise ZeroDivisionError


def test_a_defect_is_told_and_not_waited_for() -> None:
    asked, transport = _Asked(_roll), StringTransport()
    asked.makeConnection(transport)
    asked.dataReceived(b"grace 60\n")
    says, failed = transport.value().splitlines()
    assert says == b"says for 60 s"
    assert failed.startswith(f"{FAILED} a defect".encode())
    assert transport.disconnecting


@pytest.mark.parametrize("is_there", [True, False])
def test_the_socket_of_another_farm_that_is_there_is_not_taken(
    tmp_path: Path, is_there: bool
) -> None:
    path, reactor = socket_path(tmp_path, "balancer-1"), Mock()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        if is_there:
            other.listen()
        Rolling(reactor, tmp_path, "balancer-1", _roll).startService()
    assert path.exists() == is_there
    assert reactor.listenUNIX.called != is_there
