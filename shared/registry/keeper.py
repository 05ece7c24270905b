"""Keeps a key in the registry as long as this process is there: by a lease, renewed in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from homing.shared.deadlines import Clock
from homing.shared.registry.interface import (
    Batch,
    Item,
    LeaseLost,
    Registry,
    RegistryError,
    Transaction,
)

END = 1.0
"""Seconds that a stop waits for the end of a lease."""
RETRY = 1.0
"""Seconds after a failure until it is tried again."""

_LEASES_REMEMBERED = 8


class LeaseState(Enum):
    """How far the lease is."""

    NONE = auto()
    ASKING = auto()
    """One is being granted."""
    HELD = auto()
    RENEWING = auto()
    """It is held, and its renewal is under way."""
    STOPPED = auto()


class LeaseEvent(Enum):
    """What may happen to it."""

    DUE = auto()
    """It is time to ask for it, or to renew it."""
    DONE = auto()
    """What was asked for was done."""
    FAILED = auto()
    """There was no answer, or a refusal."""
    LOST = auto()
    """The lease has ended."""
    DOUBTED = auto()
    """A put found no such lease; its renewal will tell."""
    STOP = auto()


_NONE, _ASKING, _HELD, _RENEWING, _STOPPED = LeaseState
# fmt: off
NEXT: Mapping[tuple[LeaseState, LeaseEvent], LeaseState] = {
    (state, event): then
    for state, *row in (
        # State     DUE        DONE      FAILED    LOST      DOUBTED    STOP
        (_NONE,     _ASKING,   _NONE,    _NONE,    _NONE,    _NONE,     _STOPPED),
        (_ASKING,   _ASKING,   _HELD,    _NONE,    _NONE,    _ASKING,   _STOPPED),
        (_HELD,     _RENEWING, _HELD,    _HELD,    _NONE,    _RENEWING, _STOPPED),
        (_RENEWING, _RENEWING, _HELD,    _HELD,    _NONE,    _RENEWING, _STOPPED),
        (_STOPPED,  _STOPPED,  _STOPPED, _STOPPED, _STOPPED, _STOPPED,  _STOPPED),
    )
    for event, then in zip(LeaseEvent, row, strict=True)
}
# fmt: on


class Keeper:
    """Keeps what was last `put` at `key`, with a lease of `seconds` of its own.

    Whoever follows the registry passes every batch to `receive`.  An item of somebody else's at the
    key stays: `taken` is called with it, once, and the key is put when it is gone.  But what
    `replaces` returns True for is replaced.  `now` gives seconds that never jump and go on in
    suspension.
    """

    _log = Logger()

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        key: str,
        seconds: float,
        *,
        now: Callable[[], float],
        taken: Callable[[Item], None] = lambda item: None,
        replaces: Callable[[Item], bool] = lambda item: False,
    ) -> None:
        self.state = LeaseState.NONE
        self.held_until = float("-inf")
        """By `now`, when the lease may end: it was asked for `seconds` before, or earlier."""
        self._registry = registry
        self._clock = clock
        self._key = key
        self._seconds = seconds
        self._now = now
        self._taken = taken
        self._replaces = replaces
        self._pauses = {LeaseEvent.DONE: seconds / 3, LeaseEvent.LOST: 0.0}
        self._leases: deque[int] = deque(maxlen=_LEASES_REMEMBERED)
        """The last one is the one that is held, if any is."""
        self._wanted: bytes | None = None
        self._there: Item | None = None
        """What is at the key, as far as is known."""
        self._seen = 0
        """The revision up to which batches have come."""
        self._is_behind = False
        """Something else is there; a batch will tell what."""
        self._is_putting = False
        self._put_failed = False
        self._told = 0
        self._complaint = ""
        self._timers: dict[Callable[[], None], Any] = {}

    @property
    def revision(self) -> int:
        """That of the item at the key if it is ours, with the lease that we have; otherwise 0."""
        ours = self._there is not None and self._has_lease and self._is_tied(self._there)
        return self._there.revision if ours and self._there else 0

    @property
    def lease(self) -> int:
        """The lease that is held; 0: none."""
        return self._leases[-1] if self._has_lease else 0

    @property
    def is_held(self) -> bool:
        """Whether the key is surely there, with a value of ours, right now."""
        return self.revision != 0 and self._now() < self.held_until

    def put(self, value: bytes) -> None:
        """Keep `value` from now on; of several values that come while one is put, the last."""
        self._wanted = value
        if self.state is LeaseState.NONE and self._due not in self._timers:
            self._happened(LeaseEvent.DUE)
        self._put_if_needed()

    def receive(self, batch: Batch) -> None:
        """Take note of what the registry says."""
        self._seen = batch.revision
        item = batch.puts.get(self._key)
        if not batch.is_whole:
            is_old = self._there is not None and batch.revision < self._there.revision
            if is_old or (item is None and self._key not in batch.deletes):
                return
        self._there = item
        self._is_behind = False
        self._put_if_needed()

    def stop(self) -> None:
        """Renew no more: the key ends with the lease."""
        self._happened(LeaseEvent.STOP)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def end(self) -> None:
        """Stop, and end the lease now, if the registry answers."""
        lease = self.lease
        self.stop()
        self.held_until = float("-inf")
        if lease:
            ending = Deferred.fromCoroutine(self._registry.revoke(lease))
            late = self._clock.callLater(END, ending.cancel)
            with suppress(RegistryError, CancelledError):
                await ending
            if late.active():
                late.cancel()

    @property
    def _has_lease(self) -> bool:
        return self.state in (LeaseState.HELD, LeaseState.RENEWING)

    def _is_tied(self, item: Item) -> bool:
        return item.lease == self._leases[-1]

    def _due(self) -> None:
        self._happened(LeaseEvent.DUE)

    def _happened(self, event: LeaseEvent) -> None:
        before, self.state = self.state, NEXT[self.state, event]
        if self.state is before:
            return
        if self.state in (LeaseState.ASKING, LeaseState.RENEWING):
            self._begin(self._lease())
        elif self.state is not LeaseState.STOPPED:
            self._later(self._pauses.get(event, RETRY), self._due)
        if before is LeaseState.ASKING:
            self._put_if_needed()

    async def _lease(self) -> None:
        """Have the lease granted or renewed."""
        sent = self._now()
        event = LeaseEvent.DONE
        try:
            if self.state is LeaseState.ASKING:
                self._leases.append(await self._registry.grant(self._seconds))
            else:
                await self._registry.renew(self._leases[-1])
        except LeaseLost:
            event = LeaseEvent.LOST
        except RegistryError as error:
            event = LeaseEvent.FAILED
            self._complain(error)
        if self.state is LeaseState.STOPPED:
            return
        if event is LeaseEvent.DONE:
            if not self._put_failed:
                self._complaint = ""
            self.held_until = sent + self._seconds
        elif event is LeaseEvent.LOST:
            self.held_until = float("-inf")
        self._happened(event)

    def _put_if_needed(self) -> None:
        there = self._there
        if self._is_putting or self._is_behind or not self._has_lease or self._wanted is None:
            return
        if there and self._is_tied(there) and there.value == self._wanted:
            return
        if there and there.lease not in self._leases and not self._replaces(there):
            if self._told != there.revision:
                self._told = there.revision
                self._taken(there)
            return
        expected = {self._key: there.revision if there else 0}
        puts = {self._key: self._wanted}
        self._is_putting = True
        self._begin(self._commit(Transaction(expected, puts, lease=self._leases[-1]), there))

    async def _commit(self, transaction: Transaction, before: Item | None) -> None:
        try:
            revision = await self._registry.commit(transaction)
        except RegistryError as error:
            self._is_putting, self._put_failed = False, True
            self._later(RETRY, self._put_if_needed)
            if isinstance(error, LeaseLost):
                self._happened(LeaseEvent.DOUBTED)
            else:
                self._complain(error)
            return
        self._is_putting = self._put_failed = False
        if revision is None:
            self._is_behind = self._there is before
        elif revision > self._seen:  # else a batch has told what became of it
            self._there = Item(transaction.puts[self._key], revision, transaction.lease)
        self._put_if_needed()

    def _begin(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        def failed(failure: Any) -> None:
            self._log.failure("a defect in keeping {key}", failure, key=self._key)

        Deferred.fromCoroutine(work).addErrback(failed)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call it once, then and not before."""

        def call() -> None:
            del self._timers[function]
            function()

        if function in self._timers:
            self._timers.pop(function).cancel()
        if self.state is not LeaseState.STOPPED:
            self._timers[function] = self._clock.callLater(seconds, call)

    def _complain(self, error: RegistryError) -> None:
        """Once for each reason; who stops does not want to keep it any more."""
        if self._complaint != str(error) and self.state is not LeaseState.STOPPED:
            self._complaint = str(error)
            self._log.warn(
                "{key} cannot be kept in the registry: {error}", key=self._key, error=error
            )
