"""A view of the farm's state, kept up to date by the registry's batches.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode, encode
from homing.shared.farm_state.values import (
    Assignment,
    BalancerPresence,
    Exceptions,
    FarmValue,
    PartValue,
    ServerPresence,
    Wish,
)
from homing.shared.registry.interface import LARGEST_VALUE, Batch, Item, Transaction

_MOST_CHANGES = 60
"""In one transaction: each is compared and put."""

_V = TypeVar("_V")


@attrs.frozen
class Known(Generic[_V]):
    """A value, and the revision of its last change."""

    value: _V
    revision: int


class View:
    """All values, by folder and name.  `report` is called with a line for each that is ignored."""

    def __init__(self, report: Callable[[str], None] = lambda line: None) -> None:
        self._report = report
        self._clear()

    def _clear(self) -> None:
        self.revision = 0
        self.routing = 0
        """The revision of the last change that table 130 depends on."""
        self._revisions: dict[str, int] = {}
        self._singles: dict[str, Any] = {}
        self.parts: dict[int, Known[PartValue]] = {}
        self.owned: dict[str, set[int]] = {}
        """The numbers of the parts that each server owns."""
        self.servers: dict[str, Known[ServerPresence]] = {}
        self.assignments: dict[str, Known[Assignment]] = {}
        self.balancers: dict[str, Known[BalancerPresence]] = {}
        self.wishes: dict[str, Known[Wish]] = {}
        self.records: dict[str, Known[Any]] = {}
        self.refusals: dict[str, Known[Any]] = {}
        self.exceptions: dict[str, Known[Exceptions]] = {}
        """By the part of the key behind the folder: PART/SERVER/PAGE."""

    def apply(self, batch: Batch) -> frozenset[str]:
        """Take a batch over; returns the keys that changed."""
        changed = set(batch.puts) | set(batch.deletes)
        if batch.is_whole:
            changed |= self._revisions.keys()
            self._clear()
        for key in batch.deletes:
            self._revisions.pop(key, None)
            if keys.fault(key) is None:
                self._put(key, None)
        for key, item in batch.puts.items():
            self._revisions[key] = item.revision
            if fault := keys.fault(key):
                self._ignore(key, fault)
            else:
                self._put(key, self._decoded(key, item))
        self.revision = batch.revision
        if batch.is_whole:
            revisions = (
                revision
                for key, revision in self._revisions.items()
                if key.startswith(keys.ROUTING)
            )
            self.routing = max(revisions, default=batch.revision)
        elif any(key.startswith(keys.ROUTING) for key in changed):
            self.routing = batch.revision
        return frozenset(changed)

    def _decoded(self, key: str, item: Item) -> Known[Any] | None:
        try:
            return Known(decode(keys.kind(key), item.value), item.revision)
        except ValueError as error:
            self._ignore(key, str(error))
            return None

    def _ignore(self, key: str, why: str) -> None:
        self._report(f"the registry's {key[:80]!r} is ignored: {why}")

    def _put(self, key: str, known: Known[Any] | None) -> None:
        folder, _, name = key.partition("/")
        if folder == "parts":
            self._put_part(name, known)
            return
        into: dict[str, Any] = getattr(self, folder) if name else self._singles
        if known is None:
            into.pop(name or key, None)
        else:
            into[name or key] = known

    def _put_part(self, name: str, known: Known[PartValue] | None) -> None:
        number = int(name)
        before = self.parts.pop(number, None)
        if before is not None:
            self.owned[before.value.owner].discard(number)
        if known is not None:
            self.parts[number] = known
            self.owned.setdefault(known.value.owner, set()).add(number)

    def single(self, key: str) -> Any:
        """The value of a key without a folder; None where there is none."""
        known = self._singles.get(key)
        return None if known is None else known.value

    @property
    def farm(self) -> FarmValue | None:
        """What all agree on."""
        value: FarmValue | None = self.single(keys.FARM)
        return value

    def pages(self, part: int) -> Iterator[tuple[str, Known[Exceptions]]]:
        """The pages of exceptions in a part, by the server whose they are."""
        start = f"{part:07d}/"
        for name, page in self.exceptions.items():
            if name.startswith(start):
                yield name.split("/")[1], page

    def is_routed(self, revision: int) -> bool:
        """Whether the tables of all balancers that are there follow that revision."""
        return all(balancer.value.epoch >= revision for balancer in self.balancers.values())

    @property
    def keys(self) -> Collection[str]:
        """All that there are."""
        return self._revisions.keys()

    def revision_of(self, key: str) -> int:
        """The revision of a key's last change; 0 where there is none."""
        return self._revisions.get(key, 0)

    def change(
        self, changes: Mapping[str, object | None], *unchanged: str, lease: int = 0
    ) -> Transaction:
        """A transaction that puts values, or deletes where there is None.

        It happens only if none of the keys, nor any of those `unchanged`, has changed meanwhile.
        """
        return Transaction(
            {key: self.revision_of(key) for key in (*changes, *unchanged)},
            {key: encode(value) for key, value in changes.items() if value is not None},
            frozenset(key for key, value in changes.items() if value is None),
            lease,
        )

    def changes_in_turn(
        self, changes: Mapping[str, object | None], *unchanged: str
    ) -> Iterator[Transaction]:
        """As `change`, in as few transactions as a registry takes.

        What they expect is the state at this call, not at the time when each is asked for: the view
        may have gone on while those before it were committed.
        """
        return _in_turn(
            changes,
            {key: self.revision_of(key) for key in changes},
            {key: self.revision_of(key) for key in unchanged},
        )


def _in_turn(
    changes: Mapping[str, object | None],
    revisions: Mapping[str, int],
    unchanged: Mapping[str, int],
) -> Iterator[Transaction]:
    def made() -> Transaction:
        puts = {key: value for key, value in some.items() if value is not None}
        expected = {**unchanged, **{key: revisions[key] for key in some}}
        return Transaction(expected, puts, frozenset(some.keys() - puts.keys()))

    some: dict[str, bytes | None] = {}
    size = 0
    for key, value in changes.items():
        data = None if value is None else encode(value)
        size += len(data or b"")
        if some and (len(some) == _MOST_CHANGES or size > LARGEST_VALUE):
            yield made()
            some, size = {}, len(data or b"")
        some[key] = data
    if some:
        yield made()
