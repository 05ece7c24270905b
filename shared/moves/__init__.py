"""Ways of moving a part that was drawn from, each a state machine (patent, p. 9).

What the manager and the part's owner agree on: `drain`, `exceptions` and `scheduled`.
"""

from homing.shared.moves.base import PartEvent, PartStep, Transitions, Way
from homing.shared.moves.drain import DRAIN
from homing.shared.moves.exceptions import EXCEPTIONS
from homing.shared.moves.scheduled import SCHEDULED

TRANSITIONS: dict[Way, Transitions] = {
    Way.DRAIN: DRAIN,
    Way.EXCEPTIONS: EXCEPTIONS,
    Way.SCHEDULED: SCHEDULED,
}
"""By the way a part moves: the step that follows."""

__all__ = ["TRANSITIONS", "PartEvent", "PartStep", "Transitions", "Way"]
