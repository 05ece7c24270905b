"""``exceptions``: a part moves at once, without the identifiers in use (patent, p. 9).

The owner stops drawing and lists the identifiers that live.  The part then has its next owner,
except for those: they stay with the old owner until they have expired, and nobody draws them.  If
there are too many, the part drains instead.
"""

from __future__ import annotations

from homing.shared.moves.base import ENDS, HELD, RELEASED, PartEvent, PartStep, machine

EXCEPTIONS = machine(
    HELD=HELD,
    LEAVING=ENDS | {PartEvent.LISTED: PartStep.LISTED, PartEvent.TOO_MANY: PartStep.STOPPED},
    STOPPED=ENDS | {PartEvent.OVER: PartStep.RELEASED},
    LISTED=ENDS | {PartEvent.GIVEN: PartStep.HELD},
    RELEASED=RELEASED,
)
