"""A session store that asks a blocking backend in threads, so that the reactor never waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Generic, TypeVar

import attrs
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from homing.server.groups.store.base import (
    LARGEST_VALUE,
    LONGEST_LIFETIME,
    Backend,
    StoreBusy,
    StoreFailure,
)
from homing.server.groups.store.circuit_breaker import BreakerEvent, CircuitBreaker
from homing.server.reactor import ServerReactor
from homing.shared.rarely import Rarely

DEADLINE = 0.25
"""Seconds after which a get is a miss and a put is abandoned."""

LIMIT = 1024
"""Operations under way at most; any more are misses at once."""

CLOSING = 2.0
"""Seconds that threads get to finish when the store is closed."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two probes."""

_T = TypeVar("_T")


@attrs.define(eq=False, repr=False)
class _Job(Generic[_T]):
    """One operation that waits for a thread or runs in it."""

    operation: Callable[[], _T]
    timer: IDelayedCall
    answer: Deferred[_T | None] = attrs.field(factory=Deferred)
    started: float | None = None


class _DaemonPool(ThreadPool):
    """Threads that do not keep the process alive when a store hangs for good."""

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]


class ThreadedStore:
    """A SessionStore that asks `backend` in threads of its own.

    From the first failure until a probe succeeds, the circuit breaker makes every operation a miss.
    """

    _log = Logger()

    def __init__(
        self,
        backend: Backend,
        reactor: ServerReactor,
        *,
        deadline: float = DEADLINE,
        limit: int = LIMIT,
    ) -> None:
        self._backend = backend
        self._reactor = reactor
        self._deadline = deadline
        self._limit = limit
        self._jobs: dict[_Job[Any], None] = {}  # the oldest first
        self._breaker = CircuitBreaker(
            reactor,
            self._probe,
            now=time.monotonic,
            backoff=backoffPolicy(_SHORTEST_PAUSE, _LONGEST_PAUSE, 2.0, jitter=lambda: 0.0),
            calm=_LONGEST_PAUSE,
        )
        self._closed = False
        self._slow = Rarely(self._log_slow)
        self._pool = _DaemonPool(0, backend.threads, "session-store")
        # Not now: the process may fork before the reactor runs, and a fork loses threads
        reactor.callWhenRunning(self._start)

    def __repr__(self) -> str:
        return f"<session store {self._backend.label}>"

    async def get(self, name: bytes) -> bytes | None:
        return await self._ask(partial(self._backend.get, name))

    async def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        if lifetime > 0 and len(value) <= LARGEST_VALUE:
            lifetime = min(lifetime, LONGEST_LIFETIME)
            await self._ask(partial(self._backend.put, name, value, lifetime))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._breaker.stop()
        ended: Deferred[None] = Deferred()
        timer = self._reactor.callLater(CLOSING, ended.callback, None)
        Thread(target=self._end, args=(timer,), daemon=True).start()
        await ended

    def _end(self, timer: IDelayedCall) -> None:
        """In a thread of its own, as it blocks until all others have ended."""
        self._pool.stop()
        self._backend.close()
        self._reactor.callFromThread(_fire, timer)

    async def _ask(self, operation: Callable[[], _T]) -> _T | None:
        if self._closed or not self._breaker.allows():
            return None
        if len(self._jobs) >= self._limit:
            self._slow.happened()
            return None
        job = _Job(operation, self._reactor.callLater(self._deadline, lambda: self._late(job)))
        self._jobs[job] = None
        asked = deferToThreadPool(self._reactor, self._pool, self._run, job)
        asked.addErrback(self._failed).addCallback(partial(self._finished, job))
        return await job.answer

    def _run(self, job: _Job[_T]) -> _T | None:
        """In a thread: the backend's answer, unless nobody waits for it any more."""
        if job.answer.called or not self._breaker.is_closed:
            return None
        job.started = time.monotonic()
        return job.operation()

    def _finished(self, job: _Job[_T], result: _T | None) -> None:
        del self._jobs[job]
        if job.timer.active():
            job.timer.cancel()
        if not job.answer.called:
            job.answer.callback(result)

    def _late(self, job: _Job[_T]) -> None:
        if not job.answer.called:
            job.answer.callback(None)
        oldest = next(iter(self._jobs))
        # The store hangs, or it has too much to do: then the oldest job has just begun
        if oldest.started is not None and time.monotonic() - oldest.started >= self._deadline / 2:
            self._break(f"no answer within {self._deadline:g} s")
        else:
            self._slow.happened()

    def _failed(self, failure: Failure, event: BreakerEvent = BreakerEvent.FAILURE) -> None:
        if failure.check(StoreBusy) and self._breaker.is_closed:
            self._slow.happened()
        else:
            self._break(_reason(failure), event)

    def _break(self, reason: str, event: BreakerEvent = BreakerEvent.FAILURE) -> None:
        was_closed = self._breaker.is_closed
        if not self._closed and self._breaker.happened(event) and was_closed:
            self._log.error(
                "{store!r} is dead: {reason}; until it is back, sessions are not shared",
                store=self,
                reason=reason,
            )

    def _start(self) -> None:
        if not self._closed:
            self._pool.start()
            self._probe()

    def _probe(self) -> None:
        probing = deferToThreadPool(self._reactor, self._pool, self._backend.probe)
        probing.addCallbacks(self._probed, self._failed, errbackArgs=(BreakerEvent.PROBE_FAILURE,))

    def _probed(self, _: object) -> None:
        if not self._closed and self._breaker.happened(BreakerEvent.PROBE_SUCCESS):
            self._log.info("{store!r} is back", store=self)

    def _log_slow(self, count: int) -> None:
        self._log.warn(
            "{store!r} is too slow; operations dropped: {count}", store=self, count=count
        )


def _fire(timer: IDelayedCall) -> None:
    if timer.active():
        timer.reset(0)


def _reason(failure: Failure) -> str:
    """What to log; the text of any other error might show a session."""
    error = failure.value
    return str(error) if isinstance(error, StoreFailure) else type(error).__name__
