"""The registry in SQLite as Twisted uses it: one thread does all that may block, and looks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorCore,
    IReactorFromThreads,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.shared.registry.interface import (
    TIMEOUT,
    Batch,
    NotYet,
    RegistryError,
    Transaction,
    Unavailable,
)
from homing.shared.registry.sqlite.database import NOTHING, Database, Seen, SetAside

LOOK_EVERY = 0.1
"""Seconds between two looks at the file."""
LOOKS_WITHOUT_CAUSE = 10
"""One look in so many is thorough also where nothing has been written: leases end by time alone."""
PAUSE = 1.0
"""Seconds after a look that failed."""
LIMIT = 1024
"""Calls under way at most; any more fail at once."""
CLOSING = 2.0
"""Seconds that the thread gets to finish when the registry is closed."""

_T = TypeVar("_T")


class RegistryReactor(IReactorCore, IReactorFromThreads, IReactorTime):
    """A start, time, and a way back from threads."""


@attrs.define(eq=False)
class _Job(Generic[_T]):
    """One call that waits for the thread or runs in it."""

    operation: Callable[[], _T]
    timer: IDelayedCall
    answer: Deferred[_T] = attrs.field(factory=Deferred)


@attrs.define(eq=False)
class _Follow:
    """`seen` is the thread's alone."""

    _registry: SqliteRegistry
    _receive: Callable[[Batch], None]
    seen: Seen = NOTHING

    @property
    def failure(self) -> RegistryError | None:
        return self._registry.failure

    def stop(self) -> None:
        self._registry._follows.pop(self, None)

    def deliver(self, batch: Batch) -> None:
        """Tell of `batch`, which the thread has found."""
        if self in self._registry._follows:
            self._receive(batch)


class SqliteRegistry:
    """A Registry; the thread starts with the reactor, since a fork before would lose it."""

    _log = Logger()

    def __init__(self, database: Database, reactor: RegistryReactor) -> None:
        self.failure: RegistryError | None = NotYet()
        """Why the last look failed; set by the thread."""
        self._database = database
        self._reactor = reactor
        self._jobs: dict[_Job[Any], None] = {}
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._follows: dict[_Follow, None] = {}
        self._written: object = None
        self._looks_left = 0
        self._has_failed = False
        self._closed = False
        self._ended: Deferred[None] = Deferred()
        self._thread = Thread(target=self._run, name="registry", daemon=True)
        reactor.callWhenRunning(self._start)

    async def commit(self, transaction: Transaction) -> int | None:
        return await self._ask(partial(self._database.commit, transaction))

    async def grant(self, seconds: float) -> int:
        return await self._ask(partial(self._database.grant, seconds))

    async def renew(self, lease: int) -> None:
        await self._ask(partial(self._database.renew, lease))

    async def revoke(self, lease: int) -> None:
        await self._ask(partial(self._database.revoke, lease))

    async def read(self) -> Batch:
        return await self._ask(self._database.read)

    def follow(self, receive: Callable[[Batch], None]) -> _Follow:
        follow = _Follow(self, receive)
        self._follows[follow] = None
        return follow

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._follows.clear()
        for job in tuple(self._jobs):
            self._answered(job, Failure(Unavailable("the registry was closed")))
        if self._thread.is_alive():
            self._queue.put(None)
            timer = self._reactor.callLater(CLOSING, self._ended.callback, None)
            await self._ended
            if timer.active():
                timer.cancel()

    def _start(self) -> None:
        if not self._closed:
            self._thread.start()

    async def _ask(self, operation: Callable[[], _T]) -> _T:
        if self._closed:
            raise Unavailable("the registry is closed")
        if len(self._jobs) >= LIMIT:
            raise Unavailable("too many calls are under way")
        late = Failure(Unavailable(f"no answer within {TIMEOUT:g} s"))
        job = _Job(operation, self._reactor.callLater(TIMEOUT, lambda: self._answered(job, late)))
        self._jobs[job] = None
        self._queue.put(job)
        return await job.answer

    def _answered(self, job: _Job[Any], result: object) -> None:
        if self._jobs.pop(job, job) is job:
            return  # it was late, or the registry was closed
        if job.timer.active():
            job.timer.cancel()
        job.answer.callback(result)  # which fails with a Failure

    def _run(self) -> None:
        """The thread."""
        pause = 0.0
        while True:
            try:
                job = self._queue.get(timeout=pause)
            except Empty:
                pass
            else:
                if job is None:
                    break
                self._work(job)
            pause = LOOK_EVERY if self._look() else PAUSE
        self._database.close()
        self._reactor.callFromThread(self._end)

    def _end(self) -> None:
        if not self._ended.called:
            self._ended.callback(None)

    def _work(self, job: _Job[Any]) -> None:
        if job.answer.called:
            return  # nobody waits for it any more
        try:
            result = job.operation()
        except Exception as error:
            result = Failure()
            if isinstance(error, SetAside):  # whoever called may not say it loud enough
                self._reactor.callFromThread(self._tell, error)
        self._reactor.callFromThread(self._answered, job, result)

    def _look(self) -> bool:
        """Tell followers what is new; whether that could be found out."""
        if self._is_as_before():
            return True
        before = self.failure
        try:
            self._database.expire()
            for follow in tuple(self._follows):
                if found := self._database.changes(follow.seen):
                    follow.seen, batch = found
                    self._reactor.callFromThread(follow.deliver, batch)
            self.failure = None
        except RegistryError as error:
            self.failure = error
        except Exception as error:  # a defect must not end the thread
            self.failure = Unavailable(repr(error))
        if str(before) != str(self.failure):
            self._reactor.callFromThread(self._tell, self.failure)
        return self.failure is None

    def _is_as_before(self) -> bool:
        """Whether nobody has written since the last look, as far as that costs one system call."""
        written = self._database.written()
        as_before = written is not None and written == self._written and self._looks_left > 0
        self._written = written
        if as_before and self.failure is None and not self._has_newcomers():
            self._looks_left -= 1
            return True
        self._looks_left = LOOKS_WITHOUT_CAUSE
        return False

    def _has_newcomers(self) -> bool:
        return any(one.seen == NOTHING for one in tuple(self._follows))

    def _tell(self, failure: RegistryError | None) -> None:
        if failure is not None:
            self._has_failed = True
            self._log.error(
                "the registry {label} fails: {failure}", label=self._database.label, failure=failure
            )
        elif self._has_failed:  # a registry that answers from the start is nothing to tell
            self._log.info("the registry {label} answers", label=self._database.label)
