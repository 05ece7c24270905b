"""Parts on their way, and what each waits for.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from homing.farm.status.division import division
from homing.farm.status.parts import next_owner
from homing.farm.status.times import from_seconds, utc
from homing.farm.status.values import MoveStatus
from homing.shared.farm_state.values import PartValue
from homing.shared.farm_state.view import View
from homing.shared.id_sets import to_data
from homing.shared.moves import PartStep, Way

_LONGEST = 1e9  # seconds; a server may say anything


def moves(view: View, now: datetime) -> Iterator[MoveStatus]:
    """All that have a next owner."""
    divided = division(view)
    for number, known in sorted(view.parts.items()):
        one, to = known.value, next_owner(known.value)
        if to is not None and divided is not None:
            words, seconds = _waits_for(view, number, one)
            yield MoveStatus(
                number,
                to_data(divided[1](number)),
                one.owner,
                to,
                one.how.value,
                one.step.value,
                None if one.at is None else utc(from_seconds(one.at)),
                words,
                None if seconds is None else utc(now + timedelta(seconds=min(seconds, _LONGEST))),
                one.note,
            )


def _waits_for(view: View, number: int, one: PartValue) -> tuple[str, float | None]:
    """What a move waits for, and for how many seconds more at most, if that is known."""
    if one.step in (PartStep.HELD, PartStep.LISTED, PartStep.RELEASED):
        return f"the manager, to give it to {next_owner(one)}", None
    there = view.servers.get(one.owner)
    if there is None:
        return f"{one.owner}, which is down: its assignment and its sessions must end", None
    live = next((each for each in there.value.live if each.part == number), None)
    sessions = "sessions" if live is None else f"{live.sessions} sessions"
    if one.how is Way.SCHEDULED:
        return f"its time, or the end of {sessions} at {one.owner}", None
    if one.step is PartStep.LEAVING:
        return f"{one.owner}, to draw from it no more", None
    return f"{sessions} at {one.owner} to end", None if live is None else live.seconds
