"""Record 132: the identifiers that one server may give out (patent, p. 6)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import attrs

from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import LENGTH
from homing.shared.part import Part, Randbelow, Taken


@attrs.frozen
class Record:
    """One server's parts, which have no identifier in common.

    A value: a change of the record is a new record with a later `epoch`.
    """

    parts: tuple[Part, ...] = ()
    epoch: int = 0

    def __contains__(self, identifier: bytes) -> bool:
        return any(identifier in part for part in self.parts)

    def count(self, length: int = LENGTH) -> int:
        """How many identifiers of `length` bytes there are."""
        return sum(part.count(length) for part in self.parts)

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        """An identifier that is not taken, each as likely.  Raises NoFreeIdentifier."""
        if len(self.parts) == 1:
            return self.parts[0].draw(randbelow, taken, length)
        fault = NoFreeIdentifier("the record has no identifiers")
        for part in self._from_a_random_one(randbelow, length):
            try:
                return part.draw(randbelow, taken, length)
            except NoFreeIdentifier as error:
                fault = error
        raise fault

    def _from_a_random_one(self, randbelow: Randbelow, length: int) -> tuple[Part, ...]:
        """All parts; the first is chosen in proportion to their counts."""
        ends = list(accumulate(part.count(length) for part in self.parts))
        first = bisect_right(ends, randbelow(ends[-1])) if any(ends) else 0
        return self.parts[first:] + self.parts[:first]

    def describe(self) -> str:
        """What may be given out, a line or two a part, for people."""
        return "\n".join(part.describe() for part in self.parts)
