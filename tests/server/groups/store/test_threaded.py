"""What a store does whose backend fails in ways that no real one can be made to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from homing.server.groups.store.base import StoreFailure
from homing.server.groups.store.threaded import ThreadedStore
from homing.shared.rarely import Rarely
from tests.reactor import WITHIN, call, eventually
from tests.server.groups.store.running import NAME, VALUE, logged, threaded


class Memory:
    """A backend that does as it is told."""

    label = "memory:"
    threads = 1

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: Exception | None = None
        self.asked = 0

    def get(self, name: bytes) -> bytes | None:
        self.probe()
        return self.values.get(name)

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        self.probe()
        self.values[name] = value

    def probe(self) -> None:
        self.asked += 1
        self.go_on.wait(WITHIN)
        if self.error:
            raise self.error

    def close(self) -> None:
        self.error = StoreFailure("closed")


def test_a_backend_that_hangs_for_good_is_left_behind() -> None:
    memory = Memory()
    with logged() as lines, threaded(memory, deadline=0.5) as store:
        store.put()
        memory.go_on.clear()
        assert store.gets(NAME, 50) == [None] * 50
        before = time.monotonic()
        store.close()
        assert 1.5 < time.monotonic() - before < 10
    memory.go_on.set()
    assert lines == [
        "<session store memory:> is dead: no answer within 0.5 s; "
        "until it is back, sessions are not shared"
    ]


def test_a_backend_that_went_on_is_back() -> None:
    memory = Memory()
    with logged() as lines, threaded(memory, deadline=0.5) as store:
        assert store.works()
        memory.go_on.clear()
        assert store.get(b"does it work?") is None
        memory.go_on.set()
        eventually(lambda: len(lines) == 2, "it is back")
        assert store.get(b"does it work?") == b"yes"


class JumpingReactor(Clock):
    """As much of a reactor as a store needs; its clock can be put forward."""

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        function()

    def callFromThread(self, function: Callable[..., None], *arguments: object) -> None:
        """Nothing comes back from the threads."""


def test_a_clock_that_is_put_forward_does_not_make_a_store_dead() -> None:
    memory, clock, answers = Memory(), JumpingReactor(), list[bytes | None]()
    store = ThreadedStore(memory, clock, deadline=20.0)  # type: ignore[arg-type]
    eventually(lambda: memory.asked == 1, "it is probed")
    memory.go_on.clear()
    Deferred.fromCoroutine(store.get(NAME)).addCallback(answers.append)
    eventually(lambda: memory.asked == 2)
    with logged() as lines:
        clock.advance(3600)
    memory.go_on.set()
    Deferred.fromCoroutine(store.close())
    assert answers == [None]
    assert lines == ["<session store memory:> is too slow; operations dropped: 1"]


def test_what_is_put_before_closing_is_kept() -> None:
    memory = Memory()
    with threaded(memory) as store:
        for number in range(100):
            call(
                lambda n=number: bool(Deferred.fromCoroutine(store.itself.put(b"%d" % n, VALUE, 1)))
            )
    assert len(memory.values) == 100


def test_an_unexpected_error_is_named_but_not_quoted() -> None:
    memory = Memory()
    with logged() as lines, threaded(memory) as store:
        assert store.works()
        memory.error = RuntimeError("a session's secret")
        assert store.get() is None
        store.put()
        eventually(lambda: memory.asked > 4, "it is tried again")
        memory.error = None
        eventually(store.works)
    assert len(lines) == 2
    assert "RuntimeError" in lines[0]
    assert "secret" not in lines[0]


def test_a_value_at_the_end_of_its_deadline_is_asked_for_no_more() -> None:
    memory = Memory()
    with threaded(memory, deadline=0.1) as store:
        assert store.works()
        memory.go_on.clear()
        store.gets(NAME, 100)
        before = memory.asked
        memory.go_on.set()
        eventually(store.works)
        assert memory.asked - before < 20


def test_rarely() -> None:
    said: list[int] = []
    rarely = Rarely(said.append, 0.2)
    for _ in range(5):
        rarely.happened()
    assert said == [1]
    time.sleep(0.2)
    rarely.happened()
    rarely.happened()
    assert said == [1, 5]
