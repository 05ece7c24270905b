"""Table 130: which server may have given an identifier out (patent, p. 6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter, itemgetter

import attrs

from shared.errors import OverlapError
from shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlap
from shared.identifiers import LENGTH, number, padded
from shared.record import Record

_MOST_FAULTS = 20


@attrs.frozen
class Entry:
    """One line of the table: the server that owns a set of identifiers."""

    owner: str
    id_set: IdSet


@attrs.frozen
class Table:
    """Identifier to server.  Immutable: a change is one assignment of a new, complete table.

    Ranges and lists are found in O(log entries), mandatory bits in O(different masks).
    Raises OverlapError, naming the servers and the overlap, when two entries have an identifier in
    common.
    """

    entries: tuple[Entry, ...] = ()
    default: str | None = None
    """The server that gets identifiers which no entry lists (patent, p. 6)."""
    epoch: int = 0
    find: Callable[[bytes], Entry | None] = attrs.field(init=False, repr=False, eq=False)
    """The entry that lists an identifier, None where none does."""

    def __attrs_post_init__(self) -> None:
        faults = tuple(_faults(self.entries))
        if faults:
            raise OverlapError(faults)
        object.__setattr__(self, "find", _finder(self.entries))

    @classmethod
    def of_records(
        cls, records: Mapping[str, Record], default: str | None = None, epoch: int = 0
    ) -> Table:
        """The table that fits the records of all servers.  Raises OverlapError."""
        lines = [Entry(name, id_set) for name, record in records.items() for id_set in record.sets]
        return cls(tuple(lines), default, epoch)

    def owner(self, identifier: bytes) -> str | None:
        """The server that may have given `identifier` out, else the default server, else None."""
        entry = self.find(identifier)
        return entry.owner if entry else self.default


def _finder(entries: tuple[Entry, ...]) -> Callable[[bytes], Entry | None]:
    """The look-up for `entries`.  It runs for every connection: keep it short."""
    ranges = sorted(_of_kind(entries, IdRange), key=attrgetter("id_set.first"))
    starts = [entry.id_set.first for entry in ranges]
    ends = [entry.id_set.last for entry in ranges]
    listed = {
        member: entry
        for entry in entries
        if isinstance(entry.id_set, IdList)
        for member in entry.id_set.members
    }
    by_mask: dict[int, dict[int, Entry]] = {}
    for entry in entries:
        if isinstance(entry.id_set, MandatoryBits):
            by_mask.setdefault(entry.id_set.mask_number, {})[entry.id_set.value_number] = entry
    masks = tuple(by_mask.items())

    def find(identifier: bytes) -> Entry | None:
        key = identifier if len(identifier) == LENGTH else padded(identifier)
        at = bisect_right(starts, key) - 1
        if at >= 0 and key <= ends[at]:
            return ranges[at]
        if key in listed:
            return listed[key]
        if masks:
            value = number(key)
            for mask, owners in masks:
                if value & mask in owners:
                    return owners[value & mask]
        return None

    return find


def _of_kind(entries: tuple[Entry, ...], kind: type[IdSet]) -> Iterator[Entry]:
    return (entry for entry in entries if isinstance(entry.id_set, kind))


def _faults(entries: tuple[Entry, ...]) -> list[str]:
    """One message for every entry that overlaps another, as far as the first `_MOST_FAULTS`."""
    faults: dict[str, None] = {}
    compared = set()
    for one, other in _suspects(entries):
        pair = id(one), id(other)
        if pair in compared:
            continue
        compared.add(pair)
        common = overlap(one.id_set, other.id_set)
        if common:
            faults[f'the ids of "{one.owner}" and "{other.owner}" overlap: {common}'] = None
            if len(faults) == _MOST_FAULTS:
                break
    return list(faults)


def _suspects(entries: tuple[Entry, ...]) -> Iterator[tuple[Entry, Entry]]:
    """Pairs of entries that may overlap; every entry that overlaps another is in one that does.

    Ranges and the members of lists, in order, need be compared only with the one that has reached
    furthest so far; entries with mandatory bits with all others, unless of the same mask.
    """
    spans = []
    by_mask: dict[int, dict[int, Entry]] = {}
    others: list[Entry] = []
    for entry in entries:
        if isinstance(entry.id_set, MandatoryBits):
            same_mask = by_mask.setdefault(entry.id_set.mask_number, {})
            if entry.id_set.value_number in same_mask:
                yield same_mask[entry.id_set.value_number], entry
            same_mask[entry.id_set.value_number] = entry
        elif isinstance(entry.id_set, IdList):
            others.append(entry)
            spans += [(member, member, entry) for member in entry.id_set.members]
        else:
            others.append(entry)
            spans.append((entry.id_set.first, entry.id_set.last, entry))
    yield from _neighbours(spans)
    for mask, owners in by_mask.items():
        for entry in owners.values():
            for other in others:
                yield other, entry
            for other_mask, other_owners in by_mask.items():
                if other_mask > mask:
                    yield from ((entry, other) for other in other_owners.values())


def _neighbours(spans: list[tuple[bytes, bytes, Entry]]) -> Iterator[tuple[Entry, Entry]]:
    """Each span's entry with that of the span which reaches furthest of those before it."""
    reach, widest = b"", None
    for first, last, entry in sorted(spans, key=itemgetter(0, 1)):
        if widest is not None and first <= reach:
            yield widest, entry
        if last > reach or widest is None:
            reach, widest = last, entry
