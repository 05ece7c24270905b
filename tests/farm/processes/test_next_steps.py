"""What the ready line tells people to try."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from homing.farm.processes.next_steps import address, next_steps, shown


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        ("127.0.0.1:8443", "localhost:8443"),
        ("0.0.0.0:443", "localhost:443"),
        ("[::]:443", "localhost:443"),
        ("[::1]:443", "localhost:443"),
        ("10.0.0.5:443", "10.0.0.5:443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ],
)
def test_the_address_is_one_that_can_be_reached_from_here(listen: str, reached: str) -> None:
    assert address(listen) == reached


def test_the_demo_is_tried_with_its_ca() -> None:
    curl, bench, page = next_steps("127.0.0.1:8443", Path("a state/ca.pem"), True)
    assert curl == (
        "curl --cacert 'a state/ca.pem' -H 'Connection: close' "
        "'https://localhost:8443/session?[1-3]'"
    )
    assert bench == "homing bench hit-rate --connect localhost:8443 --ca 'a state/ca.pem'"
    assert page == "https://localhost:8443/ in a browser that trusts 'a state/ca.pem'"


def test_a_farm_of_ones_own_has_its_own_application_and_certificate() -> None:
    bench, page = next_steps("10.0.0.5:443", None, False)
    assert bench == "homing bench hit-rate --connect 10.0.0.5:443"
    assert page == "https://10.0.0.5:443/ in a browser"


def test_paths_are_short() -> None:
    assert shown(Path.cwd() / "homing-state" / "ca.pem") == os.path.join("homing-state", "ca.pem")
    assert shown(Path("/x")) == "/x"
