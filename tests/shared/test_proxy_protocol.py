"""The PROXY header, read by Twisted's own parser."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.protocols.haproxy._v2parser import V2Parser

from shared.proxy_protocol import header


@pytest.mark.parametrize(
    ("source", "destination", "kind"),
    [
        (("192.0.2.7", 50_312), ("198.51.100.1", 443), IPv4Address),
        (("0.0.0.0", 0), ("255.255.255.255", 65_535), IPv4Address),
        (("2001:db8::7", 1), ("::1", 8443), IPv6Address),
        (("::ffff:192.0.2.7", 1), ("::ffff:192.0.2.1", 2), IPv4Address),
    ],
)
def test_a_server_reads_the_address_of_its_client(
    source: tuple[str, int],
    destination: tuple[str, int],
    kind: type[IPv4Address] | type[IPv6Address],
) -> None:
    info, rest = V2Parser().feed(header(source, destination) + b"\x16\x03\x01")
    assert rest == b"\x16\x03\x01"
    assert info is not None
    for said, meant in ((info.source, source), (info.destination, destination)):
        assert isinstance(said, kind)
        assert said.port == meant[1]
        assert header(source, destination) == header((said.host, source[1]), destination) or (
            said is not info.source
        )


def test_the_zone_of_a_link_local_address_is_left_out() -> None:
    with_zone = header(("fe80::1%eth0", 1), ("fe80::2%2", 2))
    assert with_zone == header(("fe80::1", 1), ("fe80::2", 2))


@pytest.mark.parametrize(
    ("source", "destination"), [("192.0.2.1", "::1"), ("::1", "192.0.2.1"), ("here", "::1")]
)
def test_addresses_that_no_header_can_hold_are_refused(source: str, destination: str) -> None:
    with pytest.raises(ValueError, match=r"famil|does not appear"):
        header((source, 1), (destination, 2))
