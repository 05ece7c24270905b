"""No hello costs the balancer much more than a usual one: counted, and searched for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from homing.shared.candidates import candidates
from homing.shared.client_hello import (
    CEILING,
    MOST_EXTENSIONS,
    MOST_IDENTITIES,
    MOST_RECORDS,
    ClientHello,
    NeedMore,
    Outcome,
)
from tests.costly_hellos import (
    SIZES,
    Shape,
    filled,
    lines_of,
    read_at_once,
    read_in_drips,
    shapes,
    usual,
)
from tests.sample_hellos import (
    ALPN,
    PRE_SHARED_KEY,
    SERVER_NAME,
    SESSION_TICKET,
    SUPPORTED_VERSIONS,
    Parts,
    message,
    psk_offer,
    records,
    vector,
)

MOST_TIMES = 20
"""Times the cost of a usual hello of its size class that the worst one may cost."""

MOST_WAKES = 40
"""Times that one hello may have the kernel wake the balancer."""

BOUNDS = MOST_RECORDS, MOST_EXTENSIONS, MOST_IDENTITIES


def use(outcome: Outcome) -> None:
    """What routing goes on to do."""
    if isinstance(outcome, ClientHello):
        candidates(outcome)


def cost(wire: bytes) -> int:
    """The dearer of the two ways for `wire` to come."""
    return max(
        lines_of(lambda: use(read_at_once(wire))), lines_of(lambda: use(read_in_drips(wire)[0]))
    )


USUAL = {size: cost(usual(size)) for size in SIZES}


def times_the_usual(wire: bytes) -> float:
    """The cost of `wire` beside that of a usual hello of its size class."""
    size = next((size for size in SIZES if len(wire) <= size), SIZES[-1])
    return cost(wire) / USUAL[size]


@pytest.mark.parametrize("size", SIZES)
def test_a_hello_full_of_one_thing_does_not_stop_the_balancer(size: int) -> None:
    assert isinstance(read_at_once(usual(size)), ClientHello)
    for name, wire in {**filled(size), "64 KB": Shape(protocols=32_000).wire}.items():
        assert times_the_usual(wire) <= MOST_TIMES, name


@pytest.mark.parametrize("size", SIZES)
def test_a_hello_at_every_bound_does_not_stop_the_balancer(size: int) -> None:
    hellos = list(shapes(size, BOUNDS))
    assert hellos
    for wire in hellos:
        assert times_the_usual(wire) <= MOST_TIMES, wire.hex()


identities = st.builds(
    lambda count, length: psk_offer([b"i" * length] * count, [bytes(32)] * min(count, 9)),
    st.integers(1, 300),
    st.integers(1, 40),
)
others = st.builds(
    lambda kind, content: (kind, content),
    st.sampled_from([SERVER_NAME, ALPN, SESSION_TICKET, SUPPORTED_VERSIONS, 9000]),
    st.binary(max_size=50) | st.integers(1, 3000).map(lambda count: vector(2, b"\1a" * count)),
)


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A hello that has much of something, in records of any sizes."""
    listed = draw(st.lists(others, max_size=4))
    listed += [(9000, b"")] * draw(st.integers(0, 2 * MOST_EXTENSIONS))
    if draw(st.booleans()):
        listed.append(draw(identities | st.binary(max_size=99).map(lambda x: (PRE_SHARED_KEY, x))))
    parts = Parts(session_id=draw(st.binary(max_size=33))).having(*listed)
    sizes = st.integers(1, 3) | st.integers(1, 200) | st.just(1 << 14)
    return records(message(parts.body), draw(st.lists(sizes, min_size=1, max_size=5)))


@settings(max_examples=150, deadline=None)
@given(hostile())
def test_no_hello_that_a_search_finds_stops_the_balancer(wire: bytes) -> None:
    times = times_the_usual(wire)
    target(times)
    assert times <= MOST_TIMES


@settings(max_examples=300)
@given(hostile())
def test_a_client_that_drips_its_hello_does_not_wake_the_balancer_without_end(wire: bytes) -> None:
    outcome, wakes = read_in_drips(wire)
    assert wakes <= MOST_WAKES
    assert not isinstance(outcome, NeedMore)
    assert type(outcome) is type(read_at_once(wire[:CEILING]))
