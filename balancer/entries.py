"""The lines of table 130, and the look-up in them (patent, p. 6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from homing.shared.by_function import ByFunction, OwnerFunction
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlaps
from homing.shared.identifiers import LENGTH, number, padded

_MOST_FAULTS = 20


class Listed(Protocol):
    """The identifiers of a line; every `Part` is one."""

    def __contains__(self, identifier: bytes) -> bool: ...

    def count(self, length: int = LENGTH) -> int:
        """How many identifiers of `length` bytes there are, at least roughly."""

    def describe(self) -> str:
        """What they are, in a few words, for people."""


@attrs.frozen
class Entry:
    """One line of the table: the server, or group, that owns a part of all identifiers."""

    owner: str
    part: Listed


Find = Callable[[bytes], Entry | None]
"""A look-up: the entry that lists an identifier, None where none does."""


class Entries(tuple[Entry, ...]):
    """Lines by sets and by functions, with a look-up that is made once.

    `find` takes O(log entries) for ranges, O(1) for lists, O(different masks) for mandatory bits;
    functions are asked about what no set lists.  Raises OverlapError, naming the servers and the
    overlap, when two sets have an identifier in common.
    """

    find: Find

    def __new__(cls, entries: Iterable[Entry] = ()) -> Entries:
        if isinstance(entries, Entries):
            return entries
        made = super().__new__(cls, entries)
        faults = tuple(_faults(made))
        if faults:
            raise OverlapError(faults)
        made.find = _finder(made)
        return made


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
