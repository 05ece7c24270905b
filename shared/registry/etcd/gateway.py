"""Asks the members of the cluster, one after the other until one answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from homing.shared.registry.etcd import messages
from homing.shared.registry.etcd.bodies import Body, Lines
from homing.shared.registry.etcd.connections import Endpoints
from homing.shared.registry.etcd.failures import NotTrusted, failure_of
from homing.shared.registry.etcd.tls import RegistryTls
from homing.shared.registry.etcd.url import Member
from homing.shared.registry.interface import TIMEOUT, Refused, RegistryError, Unavailable

AT_ONCE = 16
"""Requests that members are asked at the same time."""
_SHORTEST = 1.0
"""Seconds that a member gets to answer, at least."""
_HEADERS = Headers({b"Content-Type": [b"application/json"], b"User-Agent": [b"homing"]})

_T = TypeVar("_T")


@attrs.frozen
class Answer:
    """What a member answered."""

    found: dict[str, Any]
    is_first: bool
    """Whether no other was asked before, who may have done it without an answer."""


@implementer(IBodyProducer)
@attrs.frozen
class _Request:
    """A request's body; it is small enough to be written at once."""

    data: bytes

    @property
    def length(self) -> int:
        return len(self.data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class Gateway:
    """All share the choice of a member: it is asked until it fails, and then the next."""

    def __init__(
        self, members: tuple[Member, ...], tls: RegistryTls, reactor: Any, first: int
    ) -> None:
        self._members = members
        self._reactor = reactor
        self._chosen = first
        self._turns = DeferredSemaphore(AT_ONCE)
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = AT_ONCE
        self._pool.retryAutomatically = False
        endpoints = Endpoints(reactor, tls)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        alone = HTTPConnectionPool(reactor, persistent=False)
        self._streams = Agent.usingEndpointFactory(reactor, endpoints, alone)

    @property
    def chosen(self) -> Member:
        """The member that is asked first."""
        return self._members[self._chosen]

    def failed(self, member: Member) -> None:
        """Choose another member, if this is the one that is asked first."""
        if self.chosen == member:
            self._chosen = (self._chosen + 1) % len(self._members)

    async def ask(self, path: str, body: bytes) -> Answer:
        """Ask one member after the other, each once and the first once more.

        It may take longer than TIMEOUT.  Raises RegistryError.
        """
        await self._turns.acquire()
        try:
            return await self._ask(path, body)
        finally:
            self._turns.release()

    async def _ask(self, path: str, body: bytes) -> Answer:
        failures: dict[Member, RegistryError] = {}
        within = max(TIMEOUT / len(self._members), _SHORTEST)
        for attempt in range(len(self._members) + 1):
            member = self.chosen
            try:
                return Answer(await self.ask_member(member, path, body, within), attempt == 0)
            except (Unavailable, NotTrusted) as error:
                failures[member] = error
                self.failed(member)
        raise _together(failures)

    async def ask_member(
        self, member: Member, path: str, body: bytes, within: float = TIMEOUT
    ) -> dict[str, Any]:
        """What this member answers within so many seconds.  Raises RegistryError."""

        async def exchange() -> dict[str, Any]:
            response = await self._request(self._agent, member, path, body)
            return messages.answer(response.code, await _body_of(response))

        return await self._until(within, exchange())

    async def stream(
        self, member: Member, path: str, body: bytes, line: Callable[[bytes], None]
    ) -> Lines:
        """An answer without end; `line` is called with its lines.  Raises RegistryError."""

        async def exchange() -> Lines:
            response = await self._request(self._streams, member, path, body)
            if response.code != 200:
                messages.answer(response.code, await _body_of(response))
            lines = Lines(line)
            response.deliverBody(lines)
            return lines

        return await self._until(TIMEOUT, exchange())

    def close(self) -> Deferred[None]:
        """Close the connections that wait for a next request."""
        return self._pool.closeCachedConnections()  # type: ignore[no-any-return]

    async def _request(self, agent: IAgent, member: Member, path: str, body: bytes) -> IResponse:
        return await agent.request(b"POST", f"{member}{path}".encode(), _HEADERS, _Request(body))

    async def _until(self, within: float, exchange: Coroutine[Any, Any, _T]) -> _T:
        """What comes of `exchange`; it is cancelled when its time is over.

        Raises RegistryError, and CancelledError if the caller has given up.
        """
        asking: Deferred[_T] = Deferred.fromCoroutine(exchange)
        is_given_up = False

        def give_up(_: object) -> None:
            nonlocal is_given_up
            is_given_up = True
            asking.cancel()

        outcome: Deferred[_T] = Deferred(give_up)
        asking.addBoth(lambda result: None if outcome.called else outcome.callback(result))
        timer = self._reactor.callLater(within, asking.cancel)
        try:
            return await outcome
        except Exception as error:
            if is_given_up:
                raise CancelledError from None
            if not timer.active():
                raise Unavailable("no answer in time") from None
            raise failure_of(error) from None
        finally:
            if timer.active():
                timer.cancel()


async def _body_of(response: IResponse) -> bytes:
    body = Body()
    response.deliverBody(body)
    return await body.ended


def _together(failures: dict[Member, RegistryError]) -> RegistryError:
    words = "; ".join(f"{member}: {error}" for member, error in failures.items())
    if all(isinstance(error, NotTrusted) for error in failures.values()):
        return Refused(words)
    return Unavailable(words)
