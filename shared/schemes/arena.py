"""The arena: all identifiers with a common prefix of four bytes, which a scheme divides.

A random identifier, such as the legacy session ID of nearly every TLS 1.3 client, hits it with
probability 2^-32.
"""

from __future__ import annotations

from collections.abc import Iterable

from homing.shared.id_sets import IdSet, free_prefix
from homing.shared.identifiers import number
from homing.shared.schemes.base import AllocationError

ARENA_PREFIX = b"HOME"


def arena_start(occupied: Iterable[IdSet]) -> int:
    """The start of the first arena, from `ARENA_PREFIX` on, that overlaps nothing occupied.

    Raises AllocationError.
    """
    prefix = free_prefix(ARENA_PREFIX, occupied)
    if prefix is None:
        raise no_room()
    return number(prefix)


def no_room() -> AllocationError:
    """The error to raise when others have taken everything."""
    return AllocationError(
        "server: the ids that servers bring themselves leave no room for the others: narrow them"
    )
