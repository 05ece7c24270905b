"""Registries for the conformance suite: several clients onto one, and what tests do to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

from homing.server.ownership import must_be_ours_if_there
from homing.shared.registry.interface import Batch, Follow, Item, Registry, Transaction
from homing.shared.registry.memory import MemoryClient, MemoryRegistry
from homing.shared.registry.sqlite import SqliteRegistry
from homing.shared.registry.sqlite.database import Database
from tests.reactor import call, eventually, reactor


class Rig(Protocol):
    """One registry."""

    lease: float
    """Seconds of a lease in tests that wait until it ends."""

    def client(self) -> Registry:
        """One more client onto it, made in the reactor's thread; the suite closes it."""

    def let_pass(self, seconds: float) -> None:
        """Turn the registry's clock on, or wait."""

    def compact(self) -> None:
        """Let the registry forget what was deleted, and all values but the last."""


class Client:
    """A client seen from the main thread, whose calls block."""

    def __init__(self, registry: Registry) -> None:
        self.itself = registry

    def commit(self, transaction: Transaction) -> int | None:
        revision: int | None = call(self.itself.commit, transaction)
        return revision

    def put(self, key: str, value: bytes, expected: int = 0, lease: int = 0) -> int:
        """Put one key, which must work; returns the revision."""
        revision = self.commit(Transaction({key: expected}, {key: value}, lease=lease))
        assert revision is not None
        return revision

    def delete(self, key: str, expected: int) -> int | None:
        return self.commit(Transaction({key: expected}, deletes=frozenset({key})))

    def grant(self, seconds: float) -> int:
        return int(call(self.itself.grant, seconds))

    def renew(self, lease: int) -> None:
        call(self.itself.renew, lease)

    def revoke(self, lease: int) -> None:
        call(self.itself.revoke, lease)

    def read(self) -> Batch:
        batch: Batch = call(self.itself.read)
        assert batch.is_whole
        return batch

    def values(self) -> dict[str, bytes]:
        return {key: item.value for key, item in self.read().puts.items()}

    def follow(self) -> Followed:
        return Followed(self.itself)

    def close(self) -> None:
        call(self.itself.close)


class Followed:
    """What a follower has been told, put together."""

    def __init__(self, registry: Registry) -> None:
        self.batches: list[Batch] = []
        self.items: dict[str, Item] = {}
        self._follow: Follow = call(registry.follow, self._receive)

    def _receive(self, batch: Batch) -> None:
        assert not self.batches or batch.revision > self.batches[-1].revision or batch.is_whole
        assert all(item.revision <= batch.revision for item in batch.puts.values())
        assert not batch.puts.keys() & batch.deletes
        if batch.is_whole:
            self.items = {}
        self.items = {
            key: item for key, item in self.items.items() if key not in batch.deletes
        } | dict(batch.puts)
        self.batches.append(batch)

    @property
    def failure(self) -> Exception | None:
        return self._follow.failure

    def values(self) -> dict[str, bytes]:
        return {key: item.value for key, item in self.items.items()}

    def sees(self, values: Mapping[str, bytes]) -> None:
        """Wait until it has been told just these."""
        eventually(lambda: self.values() == values, f"the follower sees {list(values)[:5]}")

    def stop(self) -> None:
        call(self._follow.stop)


class MemoryRig:
    """The model."""

    lease = 6.0

    def __init__(self) -> None:
        self.time = 1000.0
        self.registry = MemoryRegistry(lambda: self.time)

    def client(self) -> Registry:
        return MemoryClient(self.registry)

    def let_pass(self, seconds: float) -> None:
        self.time += seconds
        call(self.registry.expire)

    def compact(self) -> None:
        call(self.registry.compact)


class SqliteRig:
    """A file."""

    lease = 6.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.time = 1000.0

    def database(self) -> Database:
        return Database(self.path, must_be_ours_if_there, lambda: self.time, "this boot")

    def client(self) -> Registry:
        return SqliteRegistry(self.database(), reactor())

    def let_pass(self, seconds: float) -> None:
        self.time += seconds

    def compact(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("DELETE FROM deleted")
            connection.execute("UPDATE state SET forgotten = revision")
