"""Table 130: which server may have given an identifier out (patent, p. 6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

import attrs

from homing.shared.by_function import ByFunction, OwnerFunction
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlaps
from homing.shared.identifiers import LENGTH, number, padded
from homing.shared.part import Part
from homing.shared.record import Record

_MOST_FAULTS = 20


@attrs.frozen
class Entry:
    """One line of the table: the server, or group, that owns a part of all identifiers."""

    owner: str
    part: Part


Find = Callable[[bytes], Entry | None]
"""A look-up: the entry that lists an identifier, None where none does."""


@attrs.frozen
class Table:
    """Identifier to server.  Immutable: a change is one assignment of a new, complete table.

    `find` takes O(log entries) for ranges, O(1) for lists, O(different masks) for mandatory bits;
    functions are asked about what no set lists.  Raises OverlapError, naming the servers and the
    overlap, when two sets have an identifier in common.
    """

    entries: tuple[Entry, ...] = ()
    default: str | None = None
    """The server that gets identifiers which no entry lists (patent, p. 6)."""
    epoch: int = 0
    find: Find = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        faults = tuple(_faults(self.entries))
        if faults:
            raise OverlapError(faults)
        object.__setattr__(self, "find", _finder(self.entries))

    @classmethod
    def of_records(
        cls, records: Mapping[str, Record], default: str | None = None, epoch: int = 0
    ) -> Table:
        """The table that fits the records of all owners.  Raises OverlapError."""
        entries = (Entry(name, part) for name, record in records.items() for part in record.parts)
        return cls(tuple(entries), default, epoch)

    def in_words(self) -> str:
        """How large it is."""
        count = len(self.entries)
        return f"table 130 has {count} {'entry' if count == 1 else 'entries'}"


def _finder(entries: tuple[Entry, ...]) -> Find:
    """The look-up for `entries`: sets first, then functions."""
    ranges: list[tuple[bytes, bytes, Entry]] = []
    listed: dict[bytes, Entry] = {}
    by_mask: dict[int, dict[int, Entry]] = {}
    functions: dict[OwnerFunction, dict[str, Entry]] = {}
    for entry in entries:
        match entry.part:
            case IdRange(first=first, last=last):
                ranges.append((first, last, entry))
            case IdList(members=members):
                listed |= dict.fromkeys(members, entry)
            case MandatoryBits(mask_number=mask, value_number=value):
                by_mask.setdefault(mask, {})[value] = entry
            case ByFunction(function=function, owner=owner):
                functions.setdefault(function, {})[owner] = entry
            case _:
                raise TypeError(f"no look-up is known for {entry.part!r}")
    find = _find_in_sets(sorted(ranges, key=lambda each: each[0]), listed, by_mask)
    for function, owners in functions.items():
        find = _find_by_function(find, function, owners)
    return find


def _find_in_sets(
    ranges: list[tuple[bytes, bytes, Entry]],
    listed: dict[bytes, Entry],
    by_mask: dict[int, dict[int, Entry]],
) -> Find:
    """The look-up in sets.  It runs for every connection: keep it short."""
    starts = [first for first, _, _ in ranges]
    ends = [last for _, last, _ in ranges]
    in_ranges = [entry for _, _, entry in ranges]
    masks = tuple(by_mask.items())

    def find(identifier: bytes) -> Entry | None:
        key = identifier if len(identifier) == LENGTH else padded(identifier)
        at = bisect_right(starts, key) - 1
        if at >= 0 and key <= ends[at]:
            return in_ranges[at]
        if key in listed:
            return listed[key]
        if masks:
            value = number(key)
            for mask, owners in masks:
                if value & mask in owners:
                    return owners[value & mask]
        return None

    return find


def _find_by_function(find: Find, function: OwnerFunction, owners: dict[str, Entry]) -> Find:
    """`find`, then `function` for what it does not find."""

    def find_by_function(identifier: bytes) -> Entry | None:
        found = find(identifier)
        if found is None:
            owner = function.owner(identifier)
            return owners.get(owner) if owner is not None else None
        return found

    return find_by_function


def _faults(entries: tuple[Entry, ...]) -> list[str]:
    """A message for every entry that overlaps another, at most `_MOST_FAULTS`."""
    owners, sets = [], []
    for entry in entries:
        if isinstance(entry.part, IdSet):
            owners.append(entry.owner)
            sets.append(entry.part)
    faults: dict[str, None] = {}
    for one, other, common in overlaps(sets):
        faults[f'the ids of "{owners[one]}" and "{owners[other]}" overlap: {common}'] = None
        if len(faults) == _MOST_FAULTS:
            break
    return list(faults)
