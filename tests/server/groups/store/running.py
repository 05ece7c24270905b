"""Stores, and what they log, for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from homing.server.groups.store import SessionStore, open_store
from homing.server.groups.store.base import Backend
from homing.server.groups.store.threaded import ThreadedStore
from tests.logs import log
from tests.reactor import call, reactor

NAME = b"name"
VALUE = b"value"
HOUR = 3600.0


class Store:
    """A store seen from the main thread, whose calls block."""

    def __init__(self, store: SessionStore) -> None:
        self.itself = store

    def get(self, name: bytes = NAME) -> bytes | None:
        found: bytes | None = call(self.itself.get, name)
        return found

    def put(self, name: bytes = NAME, value: bytes = VALUE, lifetime: float = HOUR) -> None:
        call(self.itself.put, name, value, lifetime)

    def works(self) -> bool:
        """Whether what is put now can be got."""
        self.put(b"does it work?", b"yes")
        return self.get(b"does it work?") == b"yes"

    def gets(self, name: bytes, times: int) -> list[bytes | None]:
        """What so many gets find that are all begun in one turn of the reactor."""

        def begin() -> Deferred[list[bytes | None]]:
            return gatherResults(
                [Deferred.fromCoroutine(self.itself.get(name)) for _ in range(times)]
            )

        found: list[bytes | None] = call(begin)
        return found

    def close(self) -> None:
        call(self.itself.close)


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Store]:
    """The store at `url`, by its public door; patient, since machines are noisy."""
    options.setdefault("deadline", 5.0)
    store = Store(call(lambda: open_store(url, reactor(), **options)))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def threaded(backend: Backend, **options: Any) -> Iterator[Store]:
    """The store that asks `backend`."""
    store = Store(call(lambda: ThreadedStore(backend, reactor(), **options)))
    try:
        yield store
    finally:
        store.close()


def logged() -> AbstractContextManager[list[str]]:
    """A list of what stores log, as it is shown."""
    return log("homing.server.groups.store.")
