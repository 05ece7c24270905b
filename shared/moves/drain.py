"""``drain``: a part moves in two stages, and nothing of it lives when it does (patent, p. 9).

The owner stops drawing and says when the last identifier that it gave out expires.  When its last
session in the part is gone it says so; in a second stage the next owner may use the part.
"""

from __future__ import annotations

from homing.shared.moves.base import ENDS, HELD, RELEASED, PartEvent, PartStep, machine

DRAIN = machine(
    HELD=HELD,
    LEAVING=ENDS | {PartEvent.STOPPED: PartStep.STOPPED},
    STOPPED=ENDS | {PartEvent.OVER: PartStep.RELEASED},
    LISTED=ENDS,
    RELEASED=RELEASED,
)
