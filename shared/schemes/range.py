"""``range``: one arena is divided into a range for every server and a spare part (patent, p. 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from homing.shared.id_sets import IdRange, IdSet
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.part import Part
from homing.shared.schemes.arena import ARENA_PREFIX, arena_start
from homing.shared.schemes.base import AllocationError, Need, Request, Scheme, Settings
from homing.shared.schemes.division import Division, side_by_side

_UNIT = 1 << 8 * (LENGTH - KEY_NAME_LENGTH)
"""Ranges begin at multiples of this, so that 16 leading bytes are enough to route."""

_ARENA_UNITS = 1 << 8 * (KEY_NAME_LENGTH - len(ARENA_PREFIX))


def allocate(
    needs: Sequence[Need], spare: Fraction, occupied: Iterable[IdSet] = ()
) -> dict[str, Part]:
    """A range for every owner in `needs`, in their order, none overlapping `occupied`.

    `spare` of the arena stays unassigned; shares are parts of the rest.  Who asks for nothing gets
    an even part of what the others leave.  Raises AllocationError when more is asked for than there
    is.
    """
    start = arena_start(occupied)
    assignable = int(_ARENA_UNITS * (1 - spare))
    evenly = _even_part(needs, assignable)
    ranges: dict[str, Part] = {}
    for need in needs:
        units = _units(need, assignable, evenly)
        size = need.max_ids if need.max_ids is not None else units * _UNIT
        ranges[need.owner] = IdRange.of_numbers(start, start + size - 1)
        start += units * _UNIT
    return ranges


def _units(need: Need, assignable: int, evenly: int) -> int:
    if need.max_ids is not None:
        return -(-need.max_ids // _UNIT)
    if need.share is not None:
        return max(1, int(assignable * need.share))
    return evenly


def _even_part(needs: Sequence[Need], assignable: int) -> int:
    """The units for each owner that asks for nothing.  Raises AllocationError."""
    left = assignable
    for need in needs:
        left -= _units(need, assignable, 0)
        if left < 0:
            raise AllocationError(
                f'server: nothing is left for "{need.owner}": the shares and max_ids of the '
                "servers come to more than 100% of what is not spare"
            )
    asking_nothing = [need.owner for need in needs if need.share is None and need.max_ids is None]
    if not asking_nothing:
        return 0
    if left < len(asking_nothing):
        raise AllocationError(
            f'server: nothing is left for "{asking_nothing[0]}": the shares of the others come to '
            "100%"
        )
    return left // len(asking_nothing)


def _cut(division: Division, part: int) -> IdRange:
    start = division.start(part)
    return IdRange.of_numbers(start, start + division.size - 1)


def _limits(needs: Sequence[Need], settings: Settings) -> Iterator[str]:
    if settings.spare == 1 and needs:
        yield "session_ids.spare: 100% leaves nothing for the servers"
    for need in needs:
        if need.share == 0:
            yield f'server "{need.owner}": share: must be above 0%'


def _assign(request: Request) -> dict[str, Part]:
    return allocate(request.needs, request.settings.spare, request.occupied)


RANGE = Scheme(
    name="range",
    assign=_assign,
    cut=_cut,
    locate=side_by_side,
    limits=_limits,
    server_keys=frozenset({"share", "max_ids"}),
)
