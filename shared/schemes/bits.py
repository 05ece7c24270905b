"""``bits``: bits behind a common prefix say whose an identifier is (patent, p. 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from homing.shared.id_sets import IdSet, MandatoryBits
from homing.shared.identifiers import HIGHEST, LENGTH, from_number
from homing.shared.part import Part
from homing.shared.schemes.arena import ARENA_PREFIX, arena_start
from homing.shared.schemes.base import Request, Scheme
from homing.shared.schemes.division import Division, side_by_side


def patterns(owners: Sequence[str], occupied: Iterable[IdSet] = ()) -> dict[str, Part]:
    """A pattern for every owner, outside of `occupied`.  Raises AllocationError.

    One or more bits, "depending on the number of servers" (p. 3); at least one pattern is spare.
    """
    start = arena_start(occupied)
    width = 8 * len(ARENA_PREFIX) + len(owners).bit_length()
    free = 8 * LENGTH - width
    mask = from_number(((1 << width) - 1) << free)
    return {
        owner: MandatoryBits(mask, from_number(start | index << free))
        for index, owner in enumerate(owners)
    }


def _assign(request: Request) -> dict[str, Part]:
    return patterns(request.owners, request.occupied)


def _cut(division: Division, part: int) -> MandatoryBits:
    mask = HIGHEST + 1 - division.size
    return MandatoryBits(from_number(mask), from_number(division.start(part)))


BITS = Scheme(name="bits", assign=_assign, cut=_cut, locate=side_by_side)
