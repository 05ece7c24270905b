"""What tests of schemes and tables share: who gets which identifiers, and whose one is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Any

from homing.balancer.table import Table
from homing.farm.config.keys import AESBlocks
from homing.shared.by_function import ByFunction, OwnerFunction
from homing.shared.id_sets import IdSet
from homing.shared.part import Part
from homing.shared.record import Record
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.base import Need, Request, Settings

SETTINGS = {"spare": Fraction(1, 5), "cache": 20_480, "function": None}


class MadeUpKeys:
    """The keys of a farm that has no files."""

    def __init__(self, luck: Random) -> None:
        self._luck = luck

    def seed(self, owner: str) -> bytes:
        return self._luck.randbytes(32)

    def farm_ciphers(self) -> list[AESBlocks]:
        return [AESBlocks(self._luck.randbytes(16))]


def assigned(
    scheme: str,
    needs: Iterable[Need | str],
    occupied: Iterable[IdSet] = (),
    luck: Random | None = None,
    report: Callable[[str], None] = print,
    **settings: Any,
) -> dict[str, Part]:
    """The part of everybody in `needs`."""
    asked = tuple(Need(one) if isinstance(one, str) else one for one in needs)
    keys = MadeUpKeys(luck or Random(1))
    request = Request(
        asked, tuple(occupied), Settings(**{**SETTINGS, **settings}), keys, None, report
    )
    return dict(SCHEMES[scheme].assign(request))


def records(parts: dict[str, Part]) -> dict[str, Record]:
    """A record of each part."""
    return {owner: Record((part,)) for owner, part in parts.items()}


def by_function(function: OwnerFunction, owners: Sequence[str]) -> dict[str, Record]:
    """The records of all owners by `function`."""
    return {one: Record((ByFunction("test", function, one),)) for one in owners}


def free(identifier: bytes) -> bool:
    """Nothing is taken."""
    return False


def owner(table: Table, identifier: bytes) -> str | None:
    """Whose an identifier is; what nobody owns is the default server's, if there is one."""
    entry = table.find(identifier)
    return entry.owner if entry else table.default


def sets_of(records: Mapping[str, Record]) -> list[IdSet]:
    """The sets of all records, which have no other parts."""
    parts = [part for record in records.values() for part in record.parts]
    sets = [part for part in parts if isinstance(part, IdSet)]
    assert len(sets) == len(parts)
    return sets


def members(record: Record) -> list[bytes]:
    """All identifiers of a record of small sets."""
    return [one.nth(index) for one in sets_of({"": record}) for index in range(one.count())]


def first(record: Record) -> bytes:
    """The lowest identifier of a record's first set."""
    return sets_of({"": record})[0].first
