"""The division of a farm's identifiers into numbered parts of equal size, which move singly.

Owners have many parts, so that a farm that grows or shrinks moves a few and leaves the others where
they are (patent, p. 9: "minimize the re-assignment").
"""

from __future__ import annotations

import attrs

from homing.shared.schemes.arena import ARENA_PREFIX

PREFIX_LENGTH = len(ARENA_PREFIX)
FEWEST_BITS, MOST_BITS = 0, 20


@attrs.frozen
class Division:
    """The arena `prefix`, cut by a scheme into 2^`bits` parts with numbers from 0 on."""

    prefix: bytes
    bits: int

    @property
    def count(self) -> int:
        """How many parts there are."""
        return 1 << self.bits


def enough_bits(servers: int) -> int:
    """The bits of a division for so many servers: 64 parts for each, 1,024 at least."""
    return min(MOST_BITS, max(10, (64 * servers - 1).bit_length()))
