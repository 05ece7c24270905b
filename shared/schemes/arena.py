"""The arena: all identifiers with a common prefix of four bytes, which a scheme divides.

A random identifier, such as the legacy session ID of nearly every TLS 1.3 client, hits it with
probability 2^-32.
"""

from __future__ import annotations

from collections.abc import Iterable

from homing.shared.id_sets import IdRange, IdSet, overlap
from homing.shared.identifiers import number
from homing.shared.schemes.base import AllocationError

ARENA_PREFIX = b"HOME"
_MOST_PREFIXES = 4096


def arena_start(occupied: Iterable[IdSet]) -> int:
    """The start of the first arena, from `ARENA_PREFIX` on, that overlaps nothing occupied.

    Raises AllocationError when none is found in 4,096 steps.
    """
    sets = tuple(occupied)
    prefix = int.from_bytes(ARENA_PREFIX, "big")
    for _ in range(_MOST_PREFIXES):
        arena = IdRange.of_prefix(prefix.to_bytes(len(ARENA_PREFIX), "big"))
        in_the_way = next((one for one in sets if overlap(arena, one)), None)
        if in_the_way is None:
            return number(arena.first)
        if isinstance(in_the_way, IdRange):  # it is stepped over as a whole
            prefix = int.from_bytes(in_the_way.last[: len(ARENA_PREFIX)], "big")
        prefix = (prefix + 1) % (1 << 8 * len(ARENA_PREFIX))
    raise no_room()


def no_room() -> AllocationError:
    """The error to raise when others have taken everything."""
    return AllocationError(
        "server: the ids that servers bring themselves leave no room for the others: narrow them"
    )
