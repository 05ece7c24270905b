"""Addresses are shown as people know them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import host_and_port, ip_address, plain


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::ffff:127.0.0.1", "127.0.0.1:80"),
        ("::FFFF:7f00:1", "127.0.0.1:80"),
        ("2001:db8:0:0::1", "[2001:db8::1]:80"),
        ("fe80::1%eth0", "[fe80::1%eth0]:80"),
        ("www.example.org", "www.example.org:80"),
    ],
)
def test_an_address_is_shown_in_its_shortest_form(host: str, shown: str) -> None:
    assert host_and_port(host, 80) == shown


@given(st.ip_addresses(v=4))
def test_an_ipv4_client_at_an_ipv6_socket_is_an_ipv4_client(address: ipaddress.IPv4Address) -> None:
    assert plain(f"::ffff:{address}") == str(address)
    assert ip_address(f"::ffff:{address}") == address


@given(st.text())
def test_whatever_a_host_is_it_can_be_shown(text: str) -> None:
    assert isinstance(plain(text), str)
