"""Record 132: the identifiers that one server may give out (patent, p. 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import attrs

from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdSet, Randbelow, Taken, draw, from_data, overlap
from homing.shared.identifiers import LENGTH
from homing.shared.schemes import Share


@attrs.frozen
class Record:
    """One server's sets, or its share under a scheme by function.

    A value: a change of the record is a new record with a later `epoch`.  Raises OverlapError when
    two of the sets have an identifier in common.
    """

    sets: tuple[IdSet, ...] = ()
    epoch: int = 0
    share: Share | None = None

    def __attrs_post_init__(self) -> None:
        faults = [
            f"two sets of one record overlap: {common}"
            for one, other in combinations(self.sets, 2)
            if (common := overlap(one, other))
        ]
        if faults:
            raise OverlapError(tuple(faults))

    def __contains__(self, identifier: bytes) -> bool:
        if self.share is not None and identifier in self.share:
            return True
        return any(identifier in id_set for id_set in self.sets)

    def count(self, length: int = LENGTH) -> int:
        """How many identifiers of `length` bytes the sets have."""
        return sum(id_set.count(length) for id_set in self.sets)

    def nth(self, index: int, length: int = LENGTH) -> bytes:
        """Identifier number `index` of the sets, from 0, in `length` bytes."""
        for id_set in self.sets:
            count = id_set.count(length)
            if index < count:
                return id_set.nth(index, length)
            index -= count
        raise IndexError(index)

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        """A uniformly chosen identifier that is not taken.  Raises NoFreeIdentifier."""
        if self.share is not None:
            return self.share.draw(randbelow, taken, length)
        return draw(self, randbelow, taken, length)

    def to_data(self) -> dict[str, Any]:
        """The record as plain data; a share only in name, without the secrets of its scheme."""
        data = {"epoch": self.epoch, "sets": [id_set.to_data() for id_set in self.sets]}
        return data if self.share is None else {**data, "share": self.share.to_data()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Record:
        """The inverse of `to_data`, for records of sets.  Raises ValueError."""
        if set(data) != {"epoch", "sets"}:
            raise ValueError(f"a record has epoch and sets, not {sorted(data) or 'nothing'}")
        sets: Iterable[Mapping[str, Any]] = data["sets"]
        return cls(tuple(from_data(id_set) for id_set in sets), data["epoch"])
