"""A command that waits for a farm ends: when it is done, or when waiting is of no use."""

from __future__ import annotations

import pytest

from homing.farm.commands.operating.patience import SETTLED, UNATTENDED, Patience
from homing.farm.progress import Progress
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Unavailable
from tests.farm.managed import ManagedFarm

UNMANAGED = View()
SILENT = Unavailable("it does not answer")


@pytest.fixture(name="view")
def view_() -> View:
    """A farm with a manager."""
    return ManagedFarm("s1").view


class Left:
    """What is left to do."""

    left = 0

    def __call__(self, view: View) -> Progress:
        return Progress(self.left, "so many left")


def test_it_is_done_when_nothing_has_been_left_for_a_while(view: View) -> None:
    left = Left()
    patience = Patience(left, 100.0)
    assert patience.look(view, 100.0, None) is not None
    left.left = 2  # the manager has only begun
    assert patience.look(view, 100.5, None) == Progress(2, "so many left")
    left.left = 0
    assert patience.look(view, 101.4, None) is not None
    assert patience.look(view, 100.5 + SETTLED, None) is None


def test_a_farm_without_a_manager_is_not_waited_for_for_long(view: View) -> None:
    patience = Patience(Left(), 0.0)
    patience.look(view, 1.0, None)
    assert patience.look(UNMANAGED, 0.9 + UNATTENDED, None) is not None
    with pytest.raises(HomingError) as caught:
        patience.look(UNMANAGED, 1.0 + UNATTENDED, None)
    assert "no balancer has managed the farm for 10 s" in str(caught.value)
    assert "what was asked stays in force" in str(caught.value)


def test_a_manager_that_comes_back_is_waited_for(view: View) -> None:
    patience = Patience(Left(), 0.0)
    assert patience.look(UNMANAGED, 9.0, None) is not None
    assert patience.look(view, 9.5, None) is not None
    assert patience.look(UNMANAGED, 19.0, None) is not None


def test_a_registry_that_does_not_answer_is_not_waited_for_for_long(view: View) -> None:
    patience = Patience(Left(), 0.0)
    assert patience.look(view, 9.0, SILENT) is not None
    with pytest.raises(HomingError, match=r"the registry does not answer \(it does not answer\)"):
        patience.look(view, 10.0, SILENT)


def test_nobody_waits_longer_than_asked(view: View) -> None:
    left = Left()
    left.left = 1
    patience = Patience(left, 0.0, timeout=3.0)
    assert patience.look(view, 2.9, None) is not None
    with pytest.raises(HomingError, match="not complete after 3 s: so many left; what was asked"):
        patience.look(view, 3.0, None)


def test_nothing_is_done_while_nobody_manages() -> None:
    assert ManagedFarm("s1", managed=False).view.single(keys.MANAGER) is None
    patience = Patience(Left(), 0.0)
    assert patience.look(UNMANAGED, SETTLED + 1, None) is not None
