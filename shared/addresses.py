"""IP addresses as people know them."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def ip_address(host: str) -> IPAddress:
    """The address that `host` is: of ``::ffff:192.0.2.1``, an IPv4 client's at an IPv6 socket that
    takes both (RFC 4291, 2.5.5.2), the IPv4 address; of a link-local one, without its zone.

    Raises ValueError when it is none.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def plain(host: str) -> str:
    """`host` in its shortest form, and as IPv4 where it is IPv4; unchanged where it is no address.

    A link-local address keeps its zone.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    _, percent, zone = host.partition("%")
    return f"{address}{percent}{zone}"


def host_and_port(host: str, port: int) -> str:
    """Both as one word: 192.0.2.1:443, [2001:db8::1]:443."""
    shown = plain(host)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
