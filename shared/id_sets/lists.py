"""Explicit lists of identifiers (patent, p. 6: "a list of allowed numbers")."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from homing.shared.id_sets.base import Numbered
from homing.shared.identifiers import LENGTH, padded


def _ordered(identifiers: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({padded(identifier) for identifier in identifiers}))


@attrs.frozen
class IdList(Numbered):
    """The identifiers listed, 32 bytes each, in order; at least one."""

    members: tuple[bytes, ...] = attrs.field(converter=_ordered)
    _lookup: frozenset[bytes] = attrs.field(init=False, repr=False, eq=False)
    _of_length: dict[int, tuple[bytes, ...]] = attrs.field(
        init=False, repr=False, eq=False, factory=dict
    )

    def __attrs_post_init__(self) -> None:
        if not self.members:
            raise ValueError("the list is empty")
        object.__setattr__(self, "_lookup", frozenset(self.members))

    @property
    def first(self) -> bytes:
        return self.members[0]

    @property
    def last(self) -> bytes:
        return self.members[-1]

    def __contains__(self, identifier: bytes) -> bool:
        return padded(identifier) in self._lookup

    def count(self, length: int = LENGTH) -> int:
        return len(self._members(length))

    def nth(self, index: int, length: int = LENGTH) -> bytes:
        return self._members(length)[index]

    def _members(self, length: int) -> tuple[bytes, ...]:
        if length not in self._of_length:
            zeros = bytes(LENGTH - length)
            self._of_length[length] = tuple(
                member[:length] for member in self.members if member.endswith(zeros)
            )
        return self._of_length[length]

    def describe(self) -> str:
        return f"list {self.first.hex()}\n ...  {self.last.hex()}"
