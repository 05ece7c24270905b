"""The cache keeps what it was given, exactly as long as it says, and never more than it may."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homing.server.identifiers.session_cache import SessionCache

MOST, LIFETIME = 4, 100.0


def key(number: int) -> bytes:
    return b"HOME" + bytes([number]) * 28


class Server(RuleBasedStateMachine):
    """Sessions that come and are asked for at any time, beside a plain list of facts."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = SessionCache(MOST, LIFETIME, lambda: self.now)
        self.now = 0.0
        self.facts: list[tuple[bytes, bytes, float]] = []

    @rule(seconds=st.sampled_from([0.0, 1.0, 49.0, 50.0, 99.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(0, 7), session=st.binary(min_size=1, max_size=3))
    def a_session_begins(self, number: int, session: bytes) -> None:
        self.cache.put(key(number), session)
        self.facts = [one for one in self.facts if one[0] != key(number)]
        self.facts = [*self.facts, (key(number), session, self.now)][-MOST:]

    @invariant()
    def it_finds_what_lives_and_nothing_else(self) -> None:
        alive = {one: it for one, it, begun in self.facts if self.now - begun < LIFETIME}
        for number in range(8):
            assert self.cache.get(key(number)) == alive.get(key(number))
        assert len(self.cache) <= MOST


TestServer = Server.TestCase
TestServer.settings = settings(max_examples=200, stateful_step_count=30)


def test_the_memory_of_what_has_expired_is_free_again() -> None:
    now = 0.0
    cache = SessionCache(1000, LIFETIME, lambda: now)
    for number in range(100):
        now = float(number)
        cache.put(key(number), b"session")
    now = 150.0
    cache.put(key(200), b"session")
    assert len(cache) == 50
    now = 1000.0
    cache.put(key(201), b"session")
    assert len(cache) == 1


@pytest.mark.parametrize("most", [1, 2])
def test_a_cache_of_hardly_any_room_keeps_the_newest(most: int) -> None:
    cache = SessionCache(most, LIFETIME, lambda: 0.0)
    for number in range(5):
        cache.put(key(number), b"session")
    assert [n for n in range(5) if key(n) in cache] == [*range(5)][-most:]
