"""IP addresses as people know them."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def ip_address(host: str | bytes) -> IPAddress:
    """The address that `host` is, written or its 4 or 16 bytes.

    Of ``::ffff:192.0.2.1``, an IPv4 client's at an IPv6 socket that takes both (RFC 4291, 2.5.5.2),
    the IPv4 address; of a link-local one, without its zone.

    Raises ValueError when it is none.
    """
    address = ipaddress.ip_address(host.partition("%")[0] if isinstance(host, str) else host)
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


def split_host_and_port(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an IPv6 address may stand in brackets.

    Raises ValueError where it is something else; what the host is is not looked at.
    """
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not HOST:PORT, with a port from 1 to 65535")
    return host, int(port)


def host_and_port(host: str, port: int) -> str:
    """Both as one word: 192.0.2.1:443, [2001:db8::1]:443."""
    shown = plain(host)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
