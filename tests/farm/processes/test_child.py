"""What a parent hears of a child."""

from __future__ import annotations

import signal
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from homing.farm.processes.child import Child, _ChildProtocol


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        (ProcessDone(0), "exit status 0"),
        (ProcessTerminated(exitCode=2), "exit status 2"),
        (ProcessTerminated(signal=9), "SIGKILL"),
        (ProcessTerminated(signal=36), "signal 36"),
    ],
)
def test_its_end_is_told_in_words(reason: Exception, how: str) -> None:
    child = Mock()
    _ChildProtocol(child).processEnded(Failure(reason))
    child.ended.assert_called_once_with(how)


@pytest.mark.parametrize("ready", [False, True])
def test_one_that_still_starts_is_told_to_end_as_it_does_not_read_yet(ready: bool) -> None:
    reactor = Mock()
    process = reactor.spawnProcess.return_value
    child = Child(reactor, "s1", [], changed=Mock())
    child.start()
    if ready:
        child.ready()
    child.stop(patience=5)
    process.closeChildFD.assert_called_once_with(0)
    assert [call.args[0] for call in process.signalProcess.mock_calls] == (
        [] if ready else [signal.SIGTERM]
    )


def test_one_that_dies_instead_of_retiring_is_not_killed_an_hour_later() -> None:
    reactor: Any = Clock()
    reactor.spawnProcess = Mock()
    child = Child(reactor, "balancer", [], changed=Mock())
    child.start()
    child.ready()
    retired = child.retire(grace=3600, patience=20)
    child.ended("SIGKILL")
    assert retired.called
    assert not reactor.getDelayedCalls()
