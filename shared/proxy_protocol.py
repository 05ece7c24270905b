"""PROXY protocol version 2: tells a relayed server who its client is.

The format is HAProxy's, doc/proxy-protocol.txt.  Twisted has the reading end,
`twisted.protocols.haproxy`; this is the writing end.
"""

from __future__ import annotations

import struct

from shared.addresses import ip_address

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY_COMMAND = 0x21
_TCP4, _TCP6 = 0x11, 0x21


def header(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The header for a connection between two IP addresses and ports of one family.

    Raises ValueError when the addresses are none, or of two families.
    """
    from_host, to_host = (ip_address(host) for host, _ in (source, destination))
    if from_host.version != to_host.version:
        raise ValueError(f"{from_host} and {to_host} are of two families")
    addresses = from_host.packed + to_host.packed + struct.pack("!HH", source[1], destination[1])
    family = _TCP4 if from_host.version == 4 else _TCP6
    return _SIGNATURE + struct.pack("!BBH", _PROXY_COMMAND, family, len(addresses)) + addresses
