"""Whatever a hello brings, to find its server costs not much more than for a usual one."""

from __future__ import annotations

import time
from functools import partial

import pytest

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Rules, decide
from homing.balancer.table import Table
from homing.farm.config.keys import AESBlocks
from homing.farm.example_function import by_third_byte
from homing.shared.client_hello import MOST_IDENTITIES, ClientHello
from homing.shared.record import Record
from homing.shared.schemes import (
    FunctionScheme,
    HashScheme,
    KeyedScheme,
    Scheme,
    SeededScheme,
    Share,
)
from tests.costly_hellos import Shape, lines_of, read_at_once

SERVERS = tuple(f"s{n}" for n in range(1, 101))
SCHEMES: tuple[Scheme, ...] = (
    HashScheme(SERVERS),
    SeededScheme({name: name.encode().ljust(32) for name in SERVERS}),
    KeyedScheme(SERVERS, [AESBlocks(bytes(16)), AESBlocks(bytes(15) + b"1")]),
    FunctionScheme(by_third_byte, SERVERS, print, time.monotonic),
)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_hello_that_brings_all_it_can_does_not_stop_the_balancer(scheme: Scheme) -> None:
    records = {server: Record(share=Share(scheme, server)) for server in SERVERS}
    rules = Rules(Table.of_records(records), RoundRobin())

    def cost(identities: int, up: tuple[str, ...]) -> int:
        hello = read_at_once(Shape(identities=identities).wire)
        assert isinstance(hello, ClientHello)
        return lines_of(partial(decide, rules, hello, up, "192.0.2.1"))

    # Where every server is down, every identifier is looked up
    assert cost(1000, ()) <= 10 * cost(1, ())
    # Not to the line: a look-up takes as long as it takes
    assert cost(1000, ()) <= 1.5 * cost(MOST_IDENTITIES, ())
