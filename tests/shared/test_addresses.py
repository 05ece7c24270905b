"""Addresses are shown as people know them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.addresses import host_and_port, ip_address, plain, split_host_and_port


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


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("2001:db8::1:80", ("2001:db8::1", 80)),
        ("www.example.org:65535", ("www.example.org", 65535)),
    ],
)
def test_host_and_port_are_taken_apart(text: str, parts: tuple[str, int]) -> None:
    assert split_host_and_port(text) == parts


@pytest.mark.parametrize("text", ["", ":80", "[]:80", "host", "host:", "host:0", "host:65536"])
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        split_host_and_port(text)


@given(st.ip_addresses(v=4))
def test_an_ipv4_client_at_an_ipv6_socket_is_an_ipv4_client(address: ipaddress.IPv4Address) -> None:
    assert plain(f"::ffff:{address}") == str(address)
    assert ip_address(f"::ffff:{address}") == address


@given(st.text())
def test_whatever_a_host_is_it_can_be_shown(text: str) -> None:
    assert isinstance(plain(text), str)
