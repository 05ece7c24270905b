"""Allocation: which identifiers each server gets when nobody says (patent, p. 6, 9, 10).

The scheme ``range`` divides one arena, all identifiers with a common prefix of four bytes, into a
range for every server and a spare part.  A random identifier, such as the legacy session ID of
nearly every TLS 1.3 client, hits the arena with probability 2^-32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import attrs

from homing.shared.errors import HomingError
from homing.shared.id_sets import IdRange, IdSet, overlap
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH, number
from homing.shared.record import Record

ARENA_PREFIX = b"HOME"
_UNIT = 1 << 8 * (LENGTH - KEY_NAME_LENGTH)
"""Shares begin and end at multiples of this, so that 16 leading bytes are enough to route."""

_ARENA_UNITS = 1 << 8 * (KEY_NAME_LENGTH - len(ARENA_PREFIX))


_MOST_ARENAS = 4096


class AllocationError(HomingError):
    """The needs of the servers do not fit; `server` is the one that does not, if it is one."""

    def __init__(self, message: str, server: str | None = None) -> None:
        super().__init__(message)
        self.server = server


@attrs.frozen
class Need:
    """What one server asks for: a `share` of all identifiers, `max_ids`, or an even part."""

    name: str
    share: Fraction | None = None
    max_ids: int | None = None


def allocate(
    needs: Sequence[Need], spare: Fraction, occupied: Iterable[IdSet] = ()
) -> dict[str, Record]:
    """A record for every server in `needs`, in their order, none overlapping `occupied`.

    `spare` of the arena stays unassigned; shares are parts of the rest.  Servers that ask for
    nothing divide evenly what the others leave.  Raises AllocationError when more is asked for
    than there is.
    """
    _check(needs, spare)
    start = arena_start(tuple(occupied))
    assignable = int(_ARENA_UNITS * (1 - spare))
    evenly = _even_part(needs, assignable)
    records = {}
    for need in needs:
        units = _units(need, assignable, evenly)
        size = need.max_ids if need.max_ids is not None else units * _UNIT
        records[need.name] = Record((IdRange.of_numbers(start, start + size - 1),))
        start += units * _UNIT
    return records


def _check(needs: Sequence[Need], spare: Fraction) -> None:
    if not 0 <= spare <= 1:
        raise AllocationError(f"spare is {float(spare):%}; it must be from 0% to 100%")
    seen = set()
    for need in needs:
        if need.name in seen:
            raise AllocationError(f'"{need.name}" asks twice', need.name)
        seen.add(need.name)
        if need.share is not None and not 0 < need.share <= 1:
            raise AllocationError(f'the share of "{need.name}" must be above 0%', need.name)
        if need.max_ids is not None and need.max_ids < 1:
            raise AllocationError(f'the max_ids of "{need.name}" must be 1 or more', need.name)


def _units(need: Need, assignable: int, evenly: int) -> int:
    if need.max_ids is not None:
        return -(-need.max_ids // _UNIT)
    if need.share is not None:
        return max(1, int(assignable * need.share))
    return evenly


def _even_part(needs: Sequence[Need], assignable: int) -> int:
    """The units for each server that asks for nothing.  Raises AllocationError."""
    left = assignable
    for need in needs:
        left -= _units(need, assignable, 0)
        if left < 0:
            raise AllocationError(
                f'nothing is left for "{need.name}": the shares and max_ids of the servers come to '
                "more than 100% of what is not spare",
                need.name,
            )
    asking_nothing = [need.name for need in needs if need.share is None and need.max_ids is None]
    if not asking_nothing:
        return 0
    if left < len(asking_nothing):
        raise AllocationError(
            f'nothing is left for "{asking_nothing[0]}": the shares of the others come to 100%',
            asking_nothing[0],
        )
    return left // len(asking_nothing)


def arena_start(occupied: tuple[IdSet, ...]) -> int:
    """The start of the first arena, from `ARENA_PREFIX` on, that overlaps nothing occupied.

    Raises AllocationError.
    """
    prefixes = 1 << 8 * len(ARENA_PREFIX)
    candidate = int.from_bytes(ARENA_PREFIX, "big")
    for _ in range(_MOST_ARENAS):
        prefix = candidate.to_bytes(len(ARENA_PREFIX), "big")
        arena = IdRange.of_prefix(prefix)
        in_the_way = next((taken for taken in occupied if overlap(arena, taken)), None)
        if in_the_way is None:
            return number(prefix)
        # A range is stepped over as a whole
        last = in_the_way.last if isinstance(in_the_way, IdRange) else prefix
        candidate = (int.from_bytes(last[: len(ARENA_PREFIX)], "big") + 1) % prefixes
    raise AllocationError(
        "the ids that servers bring themselves leave no room for the others: narrow those ids"
    )
