"""The benchmark of balancers measures what it says: hellos that route, visits that come home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.balancer import Plan, measure
from bench.balancing import balancers, measuring
from bench.balancing.balancers import STICK_TABLE, Backend
from bench.balancing.clients import drive
from bench.balancing.growth_picture import Line, Panel, picture
from bench.balancing.hellos import (
    RESPONSE,
    SERVER_AT,
    Load,
    Order,
    answer,
    by_id,
    by_psk,
    identifiers,
    is_whole,
)
from bench.growth import Cost, Size, figures
from bench.measuring.versions import SBIN
from homing.shared.candidates import candidates
from homing.shared.client_hello import ClientHello, ClientHelloReader
from homing.shared.server_hello import ServerHello, ServerHelloReader

VISIT = Order(requests=1)
needs_haproxy = pytest.mark.skipif(
    not shutil.which("haproxy", path=SBIN), reason="haproxy is not installed"
)
LOADS = [by_id(), by_psk()]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Backend]:
    with balancers.backend(tmp_path, 2) as one:
        yield one


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_what_a_hello_brings_back_is_its_identifier(load: Load) -> None:
    (identifier,) = identifiers(1, 1)
    wire = load.hello(identifier)
    hello = ClientHelloReader().feed(wire)
    assert isinstance(hello, ClientHello)
    first = next(iter(candidates(hello)))
    assert first.identifier[:16] == identifier[:16]  # an order follows, or it is a key name
    assert is_whole(wire)
    assert not is_whole(wire[:-1])


def test_every_hello_says_what_its_connection_is_like() -> None:
    order = Order(work=300, megabytes=64, requests=2)
    for load in (by_id(order), by_psk(order)):
        assert Order.of(load.hello(bytes(32))) == order


def test_the_answer_is_a_server_hello_that_keeps_the_session() -> None:
    wire = by_id().hello(identifiers(1, 1)[0])
    said = answer(wire, 3)
    assert said[SERVER_AT] == 3
    assert ServerHelloReader().feed(said) == ServerHello(wire[44:76], is_tls13=False)


def test_a_client_without_a_balancer_gets_all_that_it_asks_for(servers: Backend) -> None:
    for order, beside in ((Order(), 0), (VISIT, len(RESPONSE)), (Order(megabytes=2), 2 << 20)):
        wire = by_id(order).hello(identifiers(1, 1)[0])
        driven = drive(("127.0.0.1", servers.ports[1]), [wire] * 3, 2, order.requests)
        assert driven.received == 3 * (len(answer(wire, 2)) + beside)
        assert list(driven.servers) == [2, 2, 2]
        assert all(latency > 0 for latency in driven.latencies)


def test_visits_come_home_by_hand_off_and_by_relay(servers: Backend) -> None:
    contestants = {"hand-off": balancers.hand_off(servers), "relay": balancers.relay(servers)}
    results = measuring.connections(contestants, by_psk(VISIT), 2, 40, 1)
    assert results.home == {"hand-off": 1.0, "relay": 1.0}
    assert all(one.connections == 40 and one.cpu > 0 for (one,) in results.samples.values())


@needs_haproxy
def test_the_peer_is_a_fair_one_that_keeps_its_session_ids(servers: Backend) -> None:
    contestants = {"stick table": balancers.haproxy(servers, STICK_TABLE)}
    assert measuring.connections(contestants, by_id(VISIT), 2, 40, 1).home == {"stick table": 1.0}


@needs_haproxy
def test_all_that_was_asked_for_is_measured() -> None:
    told = measure(["id", "bulk", "memory"], Plan(1, 20, 1, (20,)))
    assert {one.figure: (one.asked, one.dream) for one in told if one.asked is not None} == {
        "balancer CPU a connection, hand-off ÷ HAProxy stick table": (0.45, 0.30),
        "balancer CPU a connection, relay ÷ HAProxy stick table": (2.8, 2.0),
        "relay CPU a GB ÷ HAProxy (splice)": (1.2, 1.0),
        "connections/s, hand-off ÷ direct": (0.95, 1.0),
        "balancer memory for 1,000,000 sessions over none": (0, 0),
    }


def test_growth_is_told_of_each_number_of_servers() -> None:
    costs = [Cost(Size(n, size), size, 2.0, 3.0) for n in (4, 64) for size in (n, 100)]
    told = {one.figure: one.ratio for one in figures(costs)}
    assert told["balancer CPU a connection, 64 servers, 100 entries ÷ 64"] == 100 / 64
    assert len(told) == 6


def test_lines_are_drawn_as_svg() -> None:
    lines = [Line("4 servers", [(4, 1.0), (10_000, 2.0)]), Line("64 servers", [(64, 1.5)])]
    text = picture("Growth", "today", [Panel("CPU & memory", lines)])
    ElementTree.fromstring(text)
    assert "10k" in text
