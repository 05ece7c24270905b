"""Chosen identifiers aim no load at one server; who comes back honestly gets home."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.limits import ALWAYS, BURST, MOST_SOURCES, WINDOW, ServerLimit, SourceLimit

NAMES = ("s1", "s2", "s3", "s4")


def admitted(limit: SourceLimit, source: str, times: int, now: float = 0.0) -> int:
    return sum(limit.admits(source, now) for _ in range(times))


class TestSource:
    def test_a_burst_passes_then_so_many_a_second(self) -> None:
        limit = SourceLimit(10)
        assert admitted(limit, "192.0.2.1", 100) == 10 * BURST
        assert admitted(limit, "192.0.2.1", 100, now=1.0) == 10
        assert admitted(limit, "192.0.2.1", 1000, now=1000.0) == 10 * BURST

    def test_other_sources_do_not_suffer(self) -> None:
        limit = SourceLimit(1)
        admitted(limit, "192.0.2.1", 1000)
        assert limit.admits("192.0.2.2", 0.0)

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("2001:db8::1", "2001:db8::ffff:2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth0", True),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ],
    )
    def test_whoever_has_a_whole_network_of_addresses_is_one_source(
        self, one: str, other: str, same: bool
    ) -> None:
        limit = SourceLimit(1)
        admitted(limit, one, 1000)
        assert limit.admits(other, 0.0) is not same

    def test_many_sources_take_little_memory_and_the_longest_unseen_is_forgotten(self) -> None:
        limit = SourceLimit(1)
        admitted(limit, "kept", 1000)
        for number in range(2 * MOST_SOURCES):
            limit.admits(str(number), 0.0)
            limit.admits("kept", 0.0)
        assert len(limit) == MOST_SOURCES
        assert not limit.admits("kept", 0.0)
        assert limit.admits("0", 0.0)

    def test_nought_is_no_limit(self) -> None:
        limit = SourceLimit(0)
        assert admitted(limit, "192.0.2.1", 100_000) == 100_000
        assert len(limit) == 0

    @given(st.lists(st.floats(-1e9, 1e9), max_size=20), st.floats(0.001, 100))
    def test_a_clock_that_jumps_gives_nobody_more_than_a_burst_at_once(
        self, times: list[float], rate: float
    ) -> None:
        limit = SourceLimit(rate)
        for now in times:
            assert admitted(limit, "a", 600, now) <= max(1, rate * BURST)


def arrivals(limit: ServerLimit, rates: dict[str, float], seconds: float, up: int) -> Counter[str]:
    """Those admitted in the second half of so many `seconds`, evenly spaced."""
    due = sorted(
        (n / rate, name) for name, rate in rates.items() for n in range(int(rate * seconds))
    )
    return Counter(name for now, name in due if limit.admits(name, up, now) and now >= seconds / 2)


class TestServer:
    def test_chosen_identifiers_get_a_server_no_more_than_the_floor(self) -> None:
        """The attack that was measured: 350 a second at one server, 20 at each of the others."""
        rates = {"s1": 370.0, "s2": 20.0, "s3": 20.0, "s4": 20.0}
        got = arrivals(ServerLimit(2.0), rates, 60, 4)
        assert got["s1"] / 30 == pytest.approx(ALWAYS / WINDOW, rel=0.05)
        assert [got[name] for name in ("s2", "s3", "s4")] == [600] * 3

    def test_an_attack_does_not_raise_its_own_limit(self) -> None:
        rates = {"s1": 5000.0, "s2": 100.0, "s3": 100.0, "s4": 100.0}
        got = arrivals(ServerLimit(2.0), rates, 40, 4)
        assert got["s1"] / 20 < 2.0 * 2 * 100  # twice the mean, of which it is half itself

    @pytest.mark.parametrize("rate", [5.0, 400.0, 3000.0])
    def test_an_even_farm_never_trips_it_however_suddenly_its_clients_come(
        self, rate: float
    ) -> None:
        rates = dict.fromkeys(NAMES, rate)
        got = arrivals(ServerLimit(2.0), rates, 4, 4)
        assert sum(got.values()) == rate * 4 * 2

    def test_a_burst_at_one_owner_passes(self) -> None:
        limit = ServerLimit(2.0)
        assert all(limit.admits("s1", 4, 0.0) for _ in range(ALWAYS))
        assert not limit.admits("s1", 4, 0.0)
        assert limit.admits("s2", 4, 0.0)

    def test_a_rare_source_still_comes_home_while_another_sends_too_much(self) -> None:
        sources, limit = SourceLimit(200), ServerLimit(2.0)

        def comes(source: str, now: float) -> bool:
            return sources.admits(source, now) and limit.admits(
                "s1", 4, now, sources.is_rare(source)
            )

        came = [comes("attacker", n / 350) for n in range(350 * 30)]
        assert sum(came[-3500:]) == pytest.approx(1000, rel=0.1)
        assert all(comes("honest", 30 + n / 10) and not comes("attacker", 30) for n in range(20))
        many = [comes(f"honest {n}", 32) for n in range(2000)]
        assert not all(many)  # an attack from as many addresses is bounded, too

    def test_who_has_no_limit_or_has_never_come_is_not_rare(self) -> None:
        assert not SourceLimit(0).is_rare("192.0.2.1")
        assert not SourceLimit(200).is_rare("192.0.2.1")

    @pytest.mark.parametrize("up", [1, 2])
    def test_with_few_servers_up_nobody_loses_by_it(self, up: int) -> None:
        """One of two may be the only one with sessions: the other has just started."""
        limit = ServerLimit(2.0)
        assert all(limit.admits("s1", up, n / 3000) for n in range(30_000))

    def test_nought_is_no_limit(self) -> None:
        limit = ServerLimit(0)
        assert all(limit.admits("s1", 4, 0.0) for _ in range(100_000))

    def test_a_low_factor_still_leaves_the_only_server_alone(self) -> None:
        limit = ServerLimit(0.1)
        assert all(limit.admits("s1", 1, 0.0) for _ in range(10 * ALWAYS))

    @given(st.lists(st.floats(-1e9, 1e9), max_size=60))
    def test_a_clock_that_jumps_lets_the_floor_through_and_raises_nothing(
        self, times: list[float]
    ) -> None:
        limit = ServerLimit(2.0)
        for now in times:
            limit.admits("s1", 4, now)
        late = max(times, default=0.0) + 100 * WINDOW
        assert all(limit.admits("s1", 4, late) for _ in range(ALWAYS - 1))
