"""The registry over etcd v3: its JSON gateway, asked by Twisted's HTTP client."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from homing.shared.registry.etcd import messages, tls
from homing.shared.registry.etcd.bodies import TooLarge
from homing.shared.registry.etcd.follow import EtcdFollow
from homing.shared.registry.etcd.gateway import Gateway
from homing.shared.registry.etcd.url import Member
from homing.shared.registry.interface import (
    TIMEOUT,
    Batch,
    Follow,
    Item,
    LeaseLost,
    Transaction,
    Unavailable,
    check_limits,
)

PREFIX = "homing/"
"""What all keys begin with in etcd, so that others can use it, too."""
LIMIT = 1024
"""Calls under way at most; any more fail at once."""
_PAGE = 2000
"""Keys that are read at once, at most."""

_T = TypeVar("_T")


class EtcdRegistry:
    """A Registry.  Connections are made when they are needed."""

    def __init__(
        self,
        members: tuple[Member, ...],
        reactor: Any,
        *,
        security: tls.RegistryTls = tls.NOTHING,
        prefix: str = PREFIX,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._gateway = Gateway(members, security, reactor, int(jitter() * len(members)))
        self._reactor = reactor
        self._prefix = prefix
        self._jitter = jitter
        self._calls: set[Deferred[Any]] = set()
        self._follows: list[EtcdFollow] = []
        self._is_closed = False

    async def commit(self, transaction: Transaction) -> int | None:
        check_limits(transaction)
        return await self._call(partial(self._commit, transaction))

    async def grant(self, seconds: float) -> int:
        request = messages.grant(math.ceil(seconds))
        answer = await self._call(partial(self._gateway.ask, messages.GRANT, request))
        return messages.granted(answer.found)

    async def renew(self, lease: int) -> None:
        request = messages.lease(lease)
        answer = await self._call(partial(self._gateway.ask, messages.KEEP_ALIVE, request))
        messages.check_renewed(answer.found)

    async def revoke(self, lease: int) -> None:
        with suppress(LeaseLost):
            request = messages.lease(lease)
            await self._call(partial(self._gateway.ask, messages.REVOKE, request))

    async def read(self) -> Batch:
        return await self._call(self._read)

    def follow(self, receive: Callable[[Batch], None]) -> Follow:
        # However long it takes to read all: each page has its own deadline
        read, gateway, reactor = self._read, self._gateway, self._reactor
        follow = EtcdFollow(gateway, self._prefix, read, reactor, self._jitter, receive)
        if self._is_closed:
            follow.stop()
        else:
            self._follows.append(follow)
        return follow

    async def close(self) -> None:
        self._is_closed = True
        for follow in self._follows:
            follow.stop()
        self._follows.clear()
        for call in tuple(self._calls):
            call.cancel()
        await self._gateway.close()

    async def _commit(self, transaction: Transaction) -> int | None:
        request = messages.txn(self._prefix, transaction)
        answer = await self._gateway.ask(messages.TXN, request)
        revision = messages.committed(answer.found)
        if revision is None and not answer.is_first:
            # Perhaps the first has done it, and what was expected was so until then
            raise Unavailable("a member did not answer whether it happened")
        return revision

    async def _read(self) -> Batch:
        """All keys, in pages that are of one revision."""
        items: dict[str, Item] = {}
        after, revision, limit = None, 0, _PAGE
        while True:
            request = messages.page(self._prefix, after, revision, limit)
            try:
                answer = await self._gateway.ask(messages.RANGE, request)
            except TooLarge:
                if limit == 1:
                    raise Unavailable("a value is too large to be read") from None
                limit = max(limit // 4, 1)
                continue
            page = messages.page_of(self._prefix, answer.found)
            items |= page.items
            revision = revision or page.revision
            limit = min(2 * limit, _PAGE)
            if page.last is None:
                return Batch(revision, items, is_whole=True)
            after = page.last

    async def _call(self, operation: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What comes of `operation` within TIMEOUT.  Raises RegistryError."""
        if self._is_closed:
            raise Unavailable("the registry is closed")
        if len(self._calls) >= LIMIT:
            raise Unavailable("too many calls are under way")
        call = Deferred.fromCoroutine(operation())
        self._calls.add(call)
        timer = self._reactor.callLater(TIMEOUT, call.cancel)
        try:
            return await call
        except CancelledError:
            words = "the registry was closed" if timer.active() else "no answer in time"
            raise Unavailable(words) from None
        except TooLarge as error:
            raise Unavailable(str(error)) from None
        finally:
            self._calls.discard(call)
            if timer.active():
                timer.cancel()
