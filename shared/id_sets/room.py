"""Where ID sets leave room for others."""

from __future__ import annotations

from collections.abc import Iterable

from homing.shared.id_sets.kinds import IdSet
from homing.shared.id_sets.overlap import overlap
from homing.shared.id_sets.ranges import IdRange

_MOST_PREFIXES = 4096


def free_prefix(start: bytes, occupied: Iterable[IdSet]) -> bytes | None:
    """The first prefix from `start` on, as long as it, that no member of `occupied` begins with.

    None where none is found in so many steps.
    """
    sets = tuple(occupied)
    prefixes = 1 << 8 * len(start)
    prefix = start
    for _ in range(_MOST_PREFIXES):
        arena = IdRange.of_prefix(prefix)
        in_the_way = next((one for one in sets if overlap(arena, one)), None)
        if in_the_way is None:
            return prefix
        # A range is stepped over as a whole
        last = in_the_way.last[: len(start)] if isinstance(in_the_way, IdRange) else prefix
        prefix = ((int.from_bytes(last, "big") + 1) % prefixes).to_bytes(len(start), "big")
    return None
