"""Whatever a hello brings, to find its server costs not much more than for a usual one."""

from __future__ import annotations

from functools import partial

import pytest

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Rules, decide
from homing.balancer.table import Table
from homing.farm.config.keys import AESBlocks
from homing.shared.by_function import OwnerFunction
from homing.shared.client_hello import MOST_IDENTITIES, ClientHello
from homing.shared.schemes.example_function import by_third_byte
from homing.shared.schemes.function import UserFunction
from homing.shared.schemes.hash import Rendezvous
from homing.shared.schemes.keyed import KeyedBlocks
from homing.shared.schemes.seeded import SeededMACs
from tests.assigning import by_function
from tests.costly_hellos import Shape, lines_of, read_at_once

SERVERS = tuple(f"s{n}" for n in range(1, 101))
FUNCTIONS: tuple[OwnerFunction, ...] = (
    Rendezvous(SERVERS),
    SeededMACs({name: name.encode().ljust(32) for name in SERVERS}),
    KeyedBlocks(SERVERS, [AESBlocks(bytes(16)), AESBlocks(bytes(15) + b"1")]),
    UserFunction(by_third_byte, SERVERS, print),
)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: type(function).__name__)
def test_a_hello_that_brings_all_it_can_does_not_stop_the_balancer(function: OwnerFunction) -> None:
    rules = Rules(Table.of_records(by_function(function, SERVERS)), RoundRobin())

    def cost(identities: int, up: tuple[str, ...]) -> int:
        hello = read_at_once(Shape(identities=identities).wire)
        assert isinstance(hello, ClientHello)
        return lines_of(partial(decide, rules, hello, up, "192.0.2.1"))

    # Where every server is down, every identifier is looked up
    assert cost(1000, ()) <= 10 * cost(1, ())
    # Not to the line: a look-up takes as long as it takes
    assert cost(1000, ()) <= 1.5 * cost(MOST_IDENTITIES, ())
