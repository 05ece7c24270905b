"""What a parent hears of a child."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from homing.farm.processes.child import _ChildProtocol


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
