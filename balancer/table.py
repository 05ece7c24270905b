"""Table 130: which server may have given an identifier out (patent, p. 6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter, itemgetter

import attrs

from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlap
from homing.shared.identifiers import LENGTH, number, padded
from homing.shared.record import Record
from homing.shared.schemes import Share

_MOST_FAULTS = 20


@attrs.frozen
class Entry:
    """One line of the table: the server, or group, that owns a set of identifiers."""

    owner: str
    id_set: IdSet


@attrs.frozen
class ShareEntry:
    """A line for what a server owns under a scheme by function."""

    owner: str
    share: Share


Find = Callable[[bytes], Entry | ShareEntry | None]
"""A look-up: the entry that lists an identifier, None where none does."""


@attrs.frozen
class Table:
    """Identifier to server.  Immutable: a change is one assignment of a new, complete table.

    Ranges and lists are found in O(log entries), mandatory bits in O(different masks); what no set
    lists is the scheme's, if there is one.  Raises OverlapError, naming the servers and the
    overlap, when two sets have an identifier in common.
    """

    entries: tuple[Entry, ...] = ()
    default: str | None = None
    """The server that gets identifiers which no entry lists (patent, p. 6)."""
    epoch: int = 0
    shares: tuple[ShareEntry, ...] = ()
    """All of one scheme."""
    find: Find = attrs.field(init=False, repr=False, eq=False)
    """The entry that lists an identifier, None where none does."""

    def __attrs_post_init__(self) -> None:
        faults = tuple(_faults(self.entries))
        if faults:
            raise OverlapError(faults)
        find = _finder(self.entries)
        object.__setattr__(self, "find", _with_scheme(find, self.shares) if self.shares else find)

    @classmethod
    def of_records(
        cls, records: Mapping[str, Record], default: str | None = None, epoch: int = 0
    ) -> Table:
        """The table that fits the records of all servers.  Raises OverlapError."""
        named = records.items()
        return cls(
            tuple(Entry(name, id_set) for name, record in named for id_set in record.sets),
            default,
            epoch,
            tuple(ShareEntry(name, record.share) for name, record in named if record.share),
        )

    def in_words(self) -> str:
        """How large it is."""
        entries = len(self.entries)
        sets = f"{entries} {'entry' if entries == 1 else 'entries'}"
        if not self.shares:
            return f"table 130 has {sets}"
        names = f"{len(self.shares)} servers by the scheme {self.shares[0].share.scheme.name}"
        return f"table 130: {names}" + (f", and {sets}" if entries else "")

    def owner(self, identifier: bytes) -> str | None:
        """The server that may have given `identifier` out, else the default server, else None."""
        entry = self.find(identifier)
        return entry.owner if entry else self.default


def _with_scheme(find: Find, shares: tuple[ShareEntry, ...]) -> Find:
    """`find`, and for what it does not find the scheme."""
    scheme = shares[0].share.scheme
    entries = {entry.share.server: entry for entry in shares}

    def find_by_scheme(identifier: bytes) -> Entry | ShareEntry | None:
        found = find(identifier)
        if found is None:
            owner = scheme.owner(identifier)
            return entries.get(owner) if owner is not None else None
        return found

    return find_by_scheme


def _finder(entries: tuple[Entry, ...]) -> Find:
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

    def find(identifier: bytes) -> Entry | ShareEntry | None:
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
