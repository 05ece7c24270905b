"""Which server gets a connection that no identifier sends anywhere."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.policies import (
    NAMES,
    LeastConnections,
    Policy,
    Random,
    RoundRobin,
    SourceHash,
    policy,
)

SERVERS = ["s1", "s2", "s3"]
ADDRESSES = [f"192.0.2.{host}" for host in range(250)] + [f"2001:db8::{n:x}" for n in range(250)]

WEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(
    lambda weights: {f"s{n}": float(weight) for n, weight in enumerate(weights)}
)
names = st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=6, unique=True)


def no_connections(server: str) -> int:
    return 0


def spread(by: Policy, servers: list[str]) -> Counter[str]:
    return Counter(by.choose(servers, address) for address in ADDRESSES)


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_of_the_documentation_can_be_named_in_farm_toml(name: str) -> None:
    chosen = policy(name, no_connections, random.Random(1).randrange)
    seen = spread(chosen, SERVERS)
    assert set(seen) == set(SERVERS)
    assert min(seen.values()) > len(ADDRESSES) / 5


@pytest.mark.parametrize("name", NAMES)
@given(servers=names, source=st.text(max_size=90))
def test_no_policy_chooses_a_server_that_is_not_up(
    name: str, servers: list[str], source: str
) -> None:
    chosen = policy(name, no_connections, random.Random(1).randrange)
    assert all(chosen.choose(servers, source) in servers for _ in range(3))


def test_round_robin_takes_turns() -> None:
    robin = RoundRobin()
    assert [robin.choose(SERVERS, "a") for _ in range(6)] == SERVERS * 2


def test_round_robin_goes_on_evenly_after_a_server_goes_down() -> None:
    robin = RoundRobin()
    robin.choose(SERVERS, "a")
    seen = Counter(robin.choose(["s1", "s3"], "a") for _ in range(10))
    assert seen == {"s1": 5, "s3": 5}


def test_least_connections_prefers_the_idle_server() -> None:
    load = {"s1": 3, "s2": 1, "s3": 2}
    assert LeastConnections(load.__getitem__).choose(SERVERS, "a") == "s2"
    load["s2"] = 5
    assert LeastConnections(load.__getitem__).choose(SERVERS, "a") == "s3"


def test_least_connections_does_not_send_a_burst_to_one_of_several_idle_servers() -> None:
    load = {"s1": 0, "s2": 0, "s3": 9}
    least = LeastConnections(load.__getitem__)
    assert Counter(least.choose(SERVERS, "a") for _ in range(10)) == {"s1": 5, "s2": 5}


@given(names, st.text(max_size=90), st.data())
def test_source_hash_keeps_a_client_at_its_server_in_any_order_of_servers(
    servers: list[str], source: str, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(servers))
    assert SourceHash().choose(servers, source) == SourceHash().choose(shuffled, source)


@given(names, st.text(max_size=20), st.data())
def test_source_hash_moves_only_the_clients_of_a_server_that_went_down(
    servers: list[str], source: str, data: st.DataObject
) -> None:
    chosen = SourceHash().choose(servers, source)
    down = data.draw(st.sampled_from(servers))
    rest = [server for server in servers if server != down]
    if rest and down != chosen:
        assert SourceHash().choose(rest, source) == chosen


def test_source_hash_spreads_the_clients_of_a_lost_server_over_the_others() -> None:
    lost = [a for a in ADDRESSES if SourceHash().choose(SERVERS, a) == "s2"]
    moved = Counter(SourceHash().choose(["s1", "s3"], address) for address in lost)
    assert min(moved["s1"], moved["s3"]) > len(lost) / 3


@pytest.mark.parametrize("index", [0, 1, 2])
def test_random_takes_every_server_with_the_luck_it_is_given(index: int) -> None:
    asked = []

    def randbelow(below: int) -> int:
        asked.append(below)
        return index

    assert Random(randbelow).choose(SERVERS, "a") == SERVERS[index]
    assert asked == [3]


@given(WEIGHTS)
def test_round_robin_gives_every_server_its_share_in_every_round_and_never_all_at_once(
    weights: dict[str, float],
) -> None:
    robin = policy("round-robin", no_connections, never, weights)
    total = int(sum(weights.values()))
    rounds = [[robin.choose(list(weights), "a") for _ in range(total)] for _ in range(3)]
    assert [Counter(one) for one in rounds] == [weights] * 3
    for cut in range(total):  # at any time it is less than two connections from its share
        seen = Counter(rounds[0][:cut])
        for server, weight in weights.items():
            assert abs(seen[server] - cut * weight / total) < 2


@given(WEIGHTS)
def test_least_connections_fills_servers_up_by_their_weights(weights: dict[str, float]) -> None:
    load = dict.fromkeys(weights, 0)
    least = policy("least-connections", load.__getitem__, never, weights)
    for _ in range(20 * int(sum(weights.values()))):
        load[least.choose(list(weights), "a")] += 1
    for server, weight in weights.items():
        assert abs(load[server] / weight - 20) <= 1


def test_idle_servers_share_the_first_clients_by_their_weights() -> None:
    least = policy("least-connections", no_connections, never, {"s1": 9.0, "s2": 1.0})
    assert Counter(least.choose(["s1", "s2"], "a") for _ in range(10)) == {"s1": 9, "s2": 1}


@pytest.mark.parametrize("name", ["source-hash", "random"])
def test_servers_get_clients_as_their_weights_say(name: str) -> None:
    weights = {"s1": 5.0, "s2": 1.0, "s3": 2.0}
    chosen = policy(name, no_connections, random.Random(1).randrange, weights)
    addresses = [f"10.0.{n >> 8}.{n & 255}" for n in range(8000)]
    seen = Counter(chosen.choose(SERVERS, address) for address in addresses)
    for server, weight in weights.items():
        assert abs(seen[server] / 1000 - weight) < 0.25, seen  # some 6 sigma


@given(WEIGHTS, st.text(max_size=20), st.data())
def test_source_hash_moves_clients_only_to_a_server_that_has_gained_weight(
    weights: dict[str, float], source: str, data: st.DataObject
) -> None:
    servers = list(weights)
    gains = data.draw(st.sampled_from(servers))
    before = SourceHash(weights).choose(servers, source)
    after = SourceHash(weights | {gains: weights[gains] + 3}).choose(servers, source)
    assert after in (before, gains)


@pytest.mark.parametrize("name", NAMES)
@given(servers=names, sources=st.lists(st.text(max_size=20), max_size=20), luck=st.integers())
def test_servers_that_all_weigh_one_are_chosen_as_if_nobody_had_said_so(
    name: str, servers: list[str], sources: list[str], luck: int
) -> None:
    without, one = (
        policy(name, len, random.Random(luck).randrange, weights)
        for weights in ({}, dict.fromkeys(servers, 1.0))
    )
    for source in sources:
        assert one.choose(servers, source) == without.choose(servers, source)


@given(names, st.text(max_size=90))
def test_source_hash_knows_clients_again_when_the_first_weight_is_given(
    servers: list[str], source: str
) -> None:
    even = SourceHash().choose(servers, source)
    assert SourceHash({"another": 2.0}).choose(servers, source) == even


@pytest.mark.parametrize("name", NAMES)
@given(servers=names, weights=st.lists(st.floats(1e-300, 1e300), min_size=6, max_size=6))
def test_no_weight_is_too_odd(name: str, servers: list[str], weights: list[float]) -> None:
    by_server = dict(zip(servers, weights, strict=False))
    chosen = policy(name, len, random.Random(1).randrange, by_server)
    assert all(chosen.choose(servers, "a") in servers for _ in range(20))


def never(below: int) -> int:
    """Randomness that is not needed."""
    raise AssertionError
