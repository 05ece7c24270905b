"""A server never forgets that a session lives, and remembers no more than it has room for."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homing.server.identifiers.given_out import GivenOut
from homing.shared.farm_state.values import Live

LIFETIME = 320.0
WINDOW = 10.0
MOST = 12
PARTS = (0, 7)


@attrs.define(eq=False)
class Fact:
    part: int
    identifier: bytes
    end: float
    taken_back: bool = False


class Facts(RuleBasedStateMachine):
    """Everything that was given out, as a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.given_out = GivenOut(LIFETIME, MOST)
        self.facts: list[Fact] = []
        self.unknown = dict.fromkeys(PARTS, 0.0)
        self.never_full = True

    def alive(self, part: int, before: float = 0.0) -> list[Fact]:
        """What lives, or lived a while ago."""
        return [one for one in self.facts if one.part == part and one.end > self.now - before]

    @rule(seconds=st.sampled_from([0.0, 1.0, WINDOW, 100.0, LIFETIME]) | st.floats(0.0, 2 * WINDOW))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(part=st.sampled_from(PARTS), name=st.integers(0, 8), times=st.integers(1, 5))
    def some_are_given_out(self, part: int, name: int, times: int) -> None:
        for more in range(times):
            identifier = bytes([part, name + more])
            self.facts.append(Fact(part, identifier, self.now + LIFETIME))
            self.given_out.note(part, identifier, self.now)
            alive = sum(len(self.alive(each, WINDOW)) for each in PARTS)
            self.never_full &= alive <= MOST

    @rule(which=st.integers(0, 4))
    def a_handshake_breaks_off(self, which: int) -> None:
        there = [one for one in self.facts if one.end > self.now and not one.taken_back]
        if which < len(there):
            there[-1 - which].taken_back = True
            self.given_out.take_back(there[-1 - which].identifier)

    @rule(part=st.sampled_from(PARTS))
    def the_server_starts_again(self, part: int) -> None:
        self.unknown[part] = self.now + LIFETIME
        self.given_out.note_unknown(part, self.now)

    @invariant()
    def nothing_that_lives_is_forgotten(self) -> None:
        for part in PARTS:
            live = self.given_out.live(part, self.now)
            there = [one for one in self.alive(part) if not one.taken_back]
            perhaps = self.alive(part, WINDOW)
            last = max([self.unknown[part], *(one.end for one in there)])
            last_perhaps = max([self.unknown[part], *(one.end for one in perhaps)])
            assert len(there) <= live.sessions <= len(perhaps)
            assert last - self.now <= live.seconds <= max(0.0, last_perhaps - self.now)
            assert (part in self.given_out.parts(self.now)) == (live.seconds > 0)

    @invariant()
    def a_listing_lacks_nothing_that_lives(self) -> None:
        for part in PARTS:
            listing = self.given_out.listing(part, self.now)
            there = {one.identifier for one in self.alive(part) if not one.taken_back}
            known = self.unknown[part] <= self.now
            assert listing is not None or not known or not self.never_full
            if listing is not None:
                assert known
                assert len(listing) == len(set(listing)) <= MOST
                assert there <= set(listing) <= {one.identifier for one in self.alive(part, WINDOW)}

    @invariant()
    def memory_is_bounded(self) -> None:
        windows = [each for part in self.given_out._parts.values() for each in part]
        assert sum(len(one.identifiers or ()) for one in windows) <= MOST
        assert self.given_out.sessions(self.now) == sum(
            self.given_out.live(part, self.now).sessions for part in PARTS
        )


TestFacts = Facts.TestCase
TestFacts.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_part_of_which_nothing_lives_any_more_is_free_to_go() -> None:
    given_out = GivenOut(100.0)
    given_out.note(3, b"one", 0.0)
    given_out.note(3, b"two", 50.0)
    assert given_out.live(3, 60.0) == Live(3, 2, 90.0)
    assert given_out.live(3, 149.0) == Live(3, 1, 1.0)
    assert given_out.live(3, 150.0) == Live(3, 0, 0.0)
    assert given_out.listing(3, 150.0) == ()


def test_a_handshake_that_broke_off_holds_no_part_back() -> None:
    given_out = GivenOut(100.0)
    given_out.note(3, b"one", 0.0)
    given_out.take_back(b"one")
    assert given_out.live(3, 0.0) == Live(3, 0, 0.0)


def test_a_busy_part_costs_a_quiet_one_no_listing() -> None:
    given_out = GivenOut(LIFETIME, MOST)
    given_out.note(0, b"quiet", 0.0)
    for n in range(1000):
        given_out.note(7, n.to_bytes(2, "big"), n / 100)
    assert given_out.listing(0, 10.0) == (b"quiet",)
    assert given_out.listing(7, 10.0) is None
    assert given_out.live(7, 10.0) == Live(7, 1000, 999 / 100 + LIFETIME - 10.0)


def test_a_busy_part_can_be_listed_again_once_it_is_quiet() -> None:
    given_out = GivenOut(LIFETIME, MOST)
    for n in range(1000):
        given_out.note(7, n.to_bytes(2, "big"), 0.0)
    given_out.note(7, b"last", 300.0)
    assert given_out.listing(7, 300.0) is None
    assert given_out.listing(7, LIFETIME) == (b"last",)


def test_what_was_given_out_before_a_restart_may_live_for_a_whole_lifetime() -> None:
    given_out = GivenOut(LIFETIME)
    given_out.note_unknown(5, 10.0)
    given_out.note(5, b"new", 11.0)
    assert given_out.listing(5, LIFETIME) is None
    assert given_out.live(5, 11.0) == Live(5, 1, LIFETIME)
    assert given_out.listing(5, LIFETIME + 10.5) == (b"new",)
