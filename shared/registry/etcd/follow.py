"""The following of an etcd: a watch, and a look now and then at its member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.shared.registry.etcd import messages
from homing.shared.registry.etcd.bodies import Lines, TooLarge
from homing.shared.registry.etcd.gateway import Gateway
from homing.shared.registry.etcd.url import Member
from homing.shared.registry.interface import Batch, NotYet, RegistryError, Unavailable

PROBE_EVERY = 2.0
"""Seconds between two looks."""
MOST_BEHIND = 10.0
"""Seconds that a watch may be behind what its member has; others' changes count, too."""
_PAUSES = (0.1, 2.0)
"""Seconds before the first new attempt, and before the later ones at most."""


class _Behind(Unavailable):
    """The watch may have been lost on the way: another one costs little."""


class Reader(Protocol):
    """Reads all there is."""

    async def __call__(self) -> Batch:
        """A whole batch.  Raises RegistryError."""


class EtcdFollow:
    """A Follow.

    A watch that is silent says nothing: its member may be cut off from the others, and then does
    not answer a linearizable read; or the watch's connection is dead, and then it stays behind the
    revision that the member has.  In both cases it begins again where it was.
    """

    _log = Logger()

    def __init__(
        self,
        gateway: Gateway,
        prefix: str,
        read: Reader,
        reactor: IReactorTime,
        jitter: Callable[[], float],
        receive: Callable[[Batch], None],
    ) -> None:
        self.failure: RegistryError | None = NotYet()
        self._gateway = gateway
        self._prefix = prefix
        self._read = read
        self._reactor = reactor
        self._pause = backoffPolicy(*_PAUSES, jitter=lambda: _PAUSES[0] * jitter())
        self._receive = receive
        self._revision: int | None = None  # None: all must be read
        self._created = False
        self._failures = 0
        self._has_failed = False
        self._is_stopped = False
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._ended)

    def stop(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            self._running.cancel()

    def _ended(self, failure: Failure) -> None:
        if not (self._is_stopped and failure.check(CancelledError)):
            self._log.failure("a defect in following etcd", failure)

    async def _run(self) -> None:
        while not self._is_stopped:
            member = self._gateway.chosen
            try:
                await self._follow(member)
            except _Behind:
                self._gateway.failed(member)
            except TooLarge:
                self._revision = None  # what is read is read in pages
            except RegistryError as error:
                if self._is_stopped:
                    return
                self._gateway.failed(member)
                self._tell(error)
                await self._sleep(self._pause(self._failures))
                self._failures += 1

    async def _follow(self, member: Member) -> None:
        """Follow by this member; ends only by a RegistryError."""
        if self._revision is None:
            batch = await self._read()
            self._tell(None)
            self._deliver(batch)
        assert self._revision is not None
        self._created = False
        request = messages.watch(self._prefix, self._revision + 1)
        lines = await self._gateway.stream(member, messages.WATCH, request, self._line)
        probing = Deferred.fromCoroutine(self._probe(member, lines))
        try:
            await lines.ended
            raise Unavailable("it ended the watch")
        finally:
            probing.cancel()
            lines.end(Unavailable("the watch was given up"))

    def _line(self, line: bytes) -> None:
        news = messages.news_of(self._prefix, line)
        if news.is_canceled:
            self._revision = None
            raise Unavailable("it cancelled the watch: what was missed is known no more")
        if news.is_created:
            self._created = True
            self._failures = 0
            self._tell(None)
        if self._revision is not None and news.revision > self._revision:
            self._deliver(Batch(news.revision, news.puts, news.deletes))

    def _deliver(self, batch: Batch) -> None:
        if not self._is_stopped:
            self._revision = batch.revision
            try:
                self._receive(batch)
            except Exception:  # a defect there must not end the following
                self._log.failure("a defect in who follows the registry in etcd")

    async def _probe(self, member: Member, lines: Lines) -> None:
        """Look again and again; end the watch when something is wrong."""
        try:
            await self._look_again_and_again(member)
        except RegistryError as error:
            lines.end(error)
        except CancelledError:
            pass

    async def _look_again_and_again(self, member: Member) -> None:
        since, behind = 0.0, 0
        while True:
            await self._sleep(PROBE_EVERY)
            if not self._created:
                raise Unavailable(f"{member} does not begin the watch")
            told = self._revision or 0
            request = messages.probe(self._prefix)
            found = await self._gateway.ask_member(member, messages.RANGE, request)
            revision, now = messages.revision_of(found), self._reactor.seconds()
            if revision < told:
                self._revision = None
                raise Unavailable(f"{member} has an older state: was it restored?")
            if (self._revision or 0) >= behind:  # what it had then has been told
                since, behind = now, revision
            elif now - since > MOST_BEHIND:
                raise _Behind(f"{member} tells nothing")

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds)

    def _tell(self, failure: RegistryError | None) -> None:
        before, self.failure = self.failure, failure
        if failure is None and before is not None and self._has_failed:
            self._log.info("the registry in etcd answers")
        elif failure is not None and (before is None or str(before) != str(failure)):
            self._has_failed = True
            self._log.error("the registry in etcd fails: {failure}", failure=failure)
