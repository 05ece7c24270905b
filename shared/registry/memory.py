"""The model of a registry: what SQLite and etcd must do, and what simulations use.  Pure.

`MemoryRegistry` does everything at once; a `MemoryClient` offers it as the others are offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from homing.shared.registry.interface import (
    Batch,
    Item,
    LeaseLost,
    RegistryError,
    Transaction,
    Unavailable,
    check_limits,
)


@attrs.define
class _Lease:
    seconds: float
    ends: float


class MemoryRegistry:
    """All clients' common state; `now` gives seconds that never jump back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.items: dict[str, Item] = {}
        self.revision = 1
        self.follows: list[MemoryFollow] = []
        self._now = now
        self._deleted: dict[str, int] = {}
        self._forgotten = 1
        """Who has seen less than this must read all."""
        self._leases: dict[int, _Lease] = {}
        self._granted = 0

    def commit(self, transaction: Transaction) -> int | None:
        """As `Registry.commit`."""
        check_limits(transaction)
        self.expire()
        for key, revision in transaction.expected.items():
            if (self.items[key].revision if key in self.items else 0) != revision:
                return None
        if transaction.lease and transaction.lease not in self._leases:
            raise LeaseLost("the lease has ended")
        self._change(transaction.puts, transaction.deletes, transaction.lease)
        return self.revision

    def grant(self, seconds: float) -> int:
        """As `Registry.grant`."""
        self._granted += 1
        self._leases[self._granted] = _Lease(seconds, self._now() + seconds)
        return self._granted

    def renew(self, lease: int) -> None:
        """As `Registry.renew`."""
        self.expire()
        if lease not in self._leases:
            raise LeaseLost("the lease has ended")
        self._leases[lease].ends = self._now() + self._leases[lease].seconds

    def revoke(self, lease: int) -> None:
        """As `Registry.revoke`."""
        if self._leases.pop(lease, None):
            tied = frozenset(key for key, item in self.items.items() if item.lease == lease)
            self._change({}, tied)

    def read(self) -> Batch:
        """As `Registry.read`."""
        self.expire()
        return Batch(self.revision, dict(self.items), is_whole=True)

    def changes(self, since: int) -> Batch | None:
        """What changed after the revision `since`; None for nothing; 0: nothing was seen yet."""
        self.expire()
        if not self._forgotten <= since <= self.revision:
            return self.read()
        if since == self.revision:
            return None
        puts = {key: item for key, item in self.items.items() if item.revision > since}
        deletes = (key for key, revision in self._deleted.items() if revision > since)
        return Batch(self.revision, puts, frozenset(deletes))

    def expire(self) -> None:
        """End the leases whose time is over; whoever turns the clock calls this."""
        now = self._now()
        for lease in [one for one, its in self._leases.items() if its.ends <= now]:
            self.revoke(lease)

    def compact(self) -> None:
        """Forget what was deleted up to now."""
        self._deleted.clear()
        self._forgotten = self.revision

    def _change(self, puts: Mapping[str, bytes], deletes: frozenset[str], lease: int = 0) -> None:
        deletes = deletes & self.items.keys()
        if not puts and not deletes:
            return
        self.revision += 1
        for key in deletes:
            del self.items[key]
            self._deleted[key] = self.revision
        for key, value in puts.items():
            self.items[key] = Item(value, self.revision, lease)
            self._deleted.pop(key, None)
        for follow in tuple(self.follows):
            follow.deliver()


class MemoryFollow:
    """Follows at once: `receive` is called within whatever call changes something."""

    failure: RegistryError | None = None

    def __init__(self, registry: MemoryRegistry, receive: Callable[[Batch], None]) -> None:
        self._registry = registry
        self._receive = receive
        self._seen = 0
        self._delivering = False
        registry.follows.append(self)
        self.deliver()

    def deliver(self) -> None:
        """Call `receive` with what it has not seen, also with what itself has changed."""
        if self._delivering:
            return
        self._delivering = True
        while self in self._registry.follows and (batch := self._registry.changes(self._seen)):
            self._seen = batch.revision
            self._receive(batch)
        self._delivering = False

    def stop(self) -> None:
        """As `Follow.stop`."""
        if self in self._registry.follows:
            self._registry.follows.remove(self)


class MemoryClient:
    """A Registry that does what it is asked at once."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self._registry = registry
        self._follows: list[MemoryFollow] = []
        self._closed = False

    @property
    def _open(self) -> MemoryRegistry:
        if self._closed:
            raise Unavailable("the registry is closed")
        return self._registry

    async def commit(self, transaction: Transaction) -> int | None:
        return self._open.commit(transaction)

    async def grant(self, seconds: float) -> int:
        return self._open.grant(seconds)

    async def renew(self, lease: int) -> None:
        self._open.renew(lease)

    async def revoke(self, lease: int) -> None:
        self._open.revoke(lease)

    async def read(self) -> Batch:
        return self._open.read()

    def follow(self, receive: Callable[[Batch], None]) -> MemoryFollow:
        self._follows.append(MemoryFollow(self._registry, receive))
        return self._follows[-1]

    async def close(self) -> None:
        self._closed = True
        for follow in self._follows:
            follow.stop()
