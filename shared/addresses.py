"""IP addresses as people know them."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def ip_address(host: str | bytes) -> IPAddress:
    """The address that `host` is, as text or as 4 or 16 bytes.  Raises ValueError when it is none.

    ``::ffff:192.0.2.1`` is how an IPv6 socket that takes both shows an IPv4 client (RFC 4291,
    2.5.5.2): it becomes the IPv4 address.  A link-local address loses its zone.
    """
    address = ipaddress.ip_address(host.partition("%")[0] if isinstance(host, str) else host)
    return getattr(address, "ipv4_mapped", None) or address


def plain(host: str) -> str:
    """`host` in its shortest form, IPv4 clients as IPv4; unchanged where it is no address.

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

    Raises ValueError where it is something else.  The host is not checked.
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
