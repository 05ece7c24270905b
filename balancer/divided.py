"""The part of table 130 that moves in mid-run: owners of numbered parts, and exceptions in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import attrs

from homing.balancer.entries import Entry, Find
from homing.shared.id_sets import IdList, IdRange, IdSet
from homing.shared.identifiers import LENGTH, padded
from homing.shared.schemes.base import Scheme
from homing.shared.schemes.division import Division, Locate

Owners = Mapping[int, str | None]
"""By a part's number, who owns it; None: nobody."""
Exceptions = Mapping[bytes, str]
"""By identifier, 32 bytes each, where it lives, whoever owns its part (patent, p. 9)."""


@attrs.frozen
class Cutting:
    """How a farm's arena is cut into parts."""

    scheme: Scheme
    division: Division

    def cut(self, number: int) -> IdSet:
        """The set of a part."""
        assert self.scheme.cut is not None
        return self.scheme.cut(self.division, number)

    def locate(self) -> Locate:
        """The look-up of an identifier's part."""
        assert self.scheme.locate is not None
        return self.scheme.locate(self.division)


@attrs.frozen
class Run:
    """Parts side by side, from number `first` to `last`; their sets are made when asked for."""

    cutting: Cutting
    first: int
    last: int

    def __contains__(self, identifier: bytes) -> bool:
        number = self.cutting.locate()(identifier)
        return number is not None and self.first <= number <= self.last

    def count(self, length: int = LENGTH) -> int:
        return (self.last - self.first + 1) * self.cutting.cut(self.first).count(length)

    def describe(self) -> str:
        first, last = self.cutting.cut(self.first), self.cutting.cut(self.last)
        if self.first == self.last:
            return f"part {self.first}\n{first.describe()}"
        words = f"parts {self.first} to {self.last}"
        if isinstance(first, IdList):
            return words
        return f"{words}\n{IdRange(first.first, last.last).describe()}"


@attrs.frozen
class Excepted:
    """Identifiers of a part that live at one server, whoever owns the part."""

    number: int
    identifiers: frozenset[bytes]

    def __contains__(self, identifier: bytes) -> bool:
        return padded(identifier) in self.identifiers

    def count(self, length: int = LENGTH) -> int:
        end = bytes(LENGTH - length)
        return sum(identifier.endswith(end) for identifier in self.identifiers)

    def describe(self) -> str:
        return f"exceptions in part {self.number}: {len(self.identifiers)}"


@attrs.frozen
class Divided:
    """The owners of all parts of a division.  Immutable: a change copies one list."""

    cutting: Cutting
    entries: list[Entry | None] = attrs.field(repr=False)
    """By a part's number; None: nobody owns it."""
    exceptions: Mapping[int, Mapping[bytes, Entry]] = attrs.field(
        default=MappingProxyType({}), repr=False
    )
    """By a part's number, what of it lives elsewhere."""

    @classmethod
    def spare(cls, cutting: Cutting) -> Divided:
        """A division whose parts nobody owns."""
        return cls(cutting, [None] * cutting.division.count)

    def changed(self, owners: Owners, exceptions: Mapping[int, Exceptions]) -> Divided:
        """With other owners of these parts, and other exceptions in these."""
        entries = self.entries.copy()
        for number, owner in owners.items():
            part = Run(self.cutting, number, number)
            entries[number] = None if owner is None else Entry(owner, part)
        excepted = {**self.exceptions}
        for number, servers in exceptions.items():
            excepted[number] = _by_identifier(number, servers)
            if not servers:
                del excepted[number]
        return Divided(self.cutting, entries, excepted)

    def finder(self, elsewhere: Find) -> Find:
        """The look-up, `elsewhere` outside of the arena.  It runs for every connection."""
        locate, entries, exceptions = self.cutting.locate(), self.entries, self.exceptions

        def find(identifier: bytes) -> Entry | None:
            key = identifier if len(identifier) == LENGTH else padded(identifier)
            number = locate(key)
            if number is None:
                return elsewhere(key)
            if number in exceptions:
                found = exceptions[number].get(key)
                if found is not None:
                    return found
            return entries[number]

        return find

    def lines(self) -> Iterator[Entry]:
        """For people: exceptions, then the parts; neighbours of one owner are one entry."""
        for _, excepted in sorted(self.exceptions.items()):
            yield from dict.fromkeys(excepted.values())
        owners = [None if entry is None else entry.owner for entry in self.entries]
        first = 0
        for number, owner in enumerate(owners):
            if number + 1 < len(owners) and owners[number + 1] == owner:
                continue
            if owner is not None:
                yield Entry(owner, Run(self.cutting, first, number))
            first = number + 1


def _by_identifier(number: int, servers: Exceptions) -> dict[bytes, Entry]:
    """The entries of a part's exceptions, one a server."""
    by_server: dict[str, set[bytes]] = {}
    for identifier, server in servers.items():
        by_server.setdefault(server, set()).add(identifier)
    found: dict[bytes, Entry] = {}
    for server, its in by_server.items():
        found |= dict.fromkeys(its, Entry(server, Excepted(number, frozenset(its))))
    return found
