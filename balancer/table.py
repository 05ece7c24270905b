"""Table 130: which server may have given an identifier out (patent, p. 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from homing.balancer.divided import Divided
from homing.balancer.entries import Entries, Entry, Find
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdSet, overlap
from homing.shared.record import Record

__all__ = ["Entry", "Find", "Table"]


@attrs.frozen
class Table:
    """Identifier to server.  Immutable: a change is one assignment of a new, complete table.

    `find` looks in the numbered parts of the farm's arena first, and their exceptions, then in the
    other entries.  They never list the same: OverlapError is raised, naming the servers and the
    overlap, when two entries have an identifier in common.
    """

    entries: Entries = attrs.field(default=Entries(), converter=Entries)
    default: str | None = None
    """The server that gets identifiers which no entry lists (patent, p. 6)."""
    epoch: int = 0
    divided: Divided | None = None
    """The owners of the farm's numbered parts, where it has any."""
    find: Find = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        find = self.entries.find
        if self.divided is not None:
            _check_arena(self.divided, self.entries)
            find = self.divided.finder(find)
        object.__setattr__(self, "find", find)

    @classmethod
    def of_records(
        cls, records: Mapping[str, Record], default: str | None = None, epoch: int = 0
    ) -> Table:
        """The table that fits the records of all owners.  Raises OverlapError."""
        entries = (Entry(name, part) for name, record in records.items() for part in record.parts)
        return cls(entries, default, epoch)

    def lines(self) -> Iterator[Entry]:
        """All of it, for people: neighbouring parts of one owner are one line."""
        if self.divided is not None:
            yield from self.divided.lines()
        yield from self.entries

    def in_words(self) -> str:
        """How large it is."""
        count = sum(1 for _ in self.lines())
        return f"table 130 has {count} {'entry' if count == 1 else 'entries'}"


def _check_arena(divided: Divided, entries: Entries) -> None:
    """Raises OverlapError when an entry reaches into the arena that is divided."""
    arena = divided.cutting.division.arena
    faults = [
        f'the ids of "{entry.owner}" and the arena of the farm overlap: {common}'
        for entry in entries
        if isinstance(entry.part, IdSet) and (common := overlap(arena, entry.part))
    ]
    if faults:
        raise OverlapError(tuple(faults))
