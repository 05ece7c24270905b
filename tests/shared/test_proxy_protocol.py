"""The PROXY header, read by Twisted's own parser; and our reader, against it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser

from homing.shared.addresses import IPAddress, ip_address
from homing.shared.proxy_protocol import LONGEST, HeaderReader, InvalidHeader, Proxied, header

V4 = header(("192.0.2.7", 5000), ("192.0.2.1", 443))


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (("192.0.2.7", 50_312), ("198.51.100.1", 443)),
        (("0.0.0.0", 0), ("255.255.255.255", 65_535)),
        (("2001:db8::7", 1), ("::1", 8443)),
        (("::ffff:192.0.2.7", 1), ("::ffff:192.0.2.1", 2)),
    ],
)
def test_a_server_reads_the_address_of_its_client(
    source: tuple[str, int], destination: tuple[str, int]
) -> None:
    info, rest = V2Parser().feed(header(source, destination) + b"\x16\x03\x01")
    assert rest == b"\x16\x03\x01"
    assert info is not None
    for said, (host, port) in ((info.source, source), (info.destination, destination)):
        assert isinstance(said, IPv4Address if ip_address(host).version == 4 else IPv6Address)
        assert (ip_address(said.host), said.port) == (ip_address(host), port)


def test_the_zone_of_a_link_local_address_is_left_out() -> None:
    with_zone = header(("fe80::1%eth0", 1), ("fe80::2%2", 2))
    assert with_zone == header(("fe80::1", 1), ("fe80::2", 2))


@pytest.mark.parametrize(
    ("source", "destination"), [("192.0.2.1", "::1"), ("::1", "192.0.2.1"), ("here", "::1")]
)
def test_addresses_that_no_header_can_hold_are_refused(source: str, destination: str) -> None:
    with pytest.raises(ValueError, match=r"famil|does not appear"):
        header((source, 1), (destination, 2))


def read(*pieces: bytes) -> tuple[Proxied, bytes] | None:
    """What is read of pieces that arrive one after the other."""
    reader, found = HeaderReader(), None
    for number, piece in enumerate(pieces):
        found = reader.feed(piece)
        if found is not None:
            return found[0], found[1] + b"".join(pieces[number + 1 :])
        assert len(reader._data) < LONGEST
    return found


HOSTS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65535)


@given(HOSTS, PORTS, PORTS, st.binary(max_size=40), st.booleans(), st.data())
def test_what_is_written_is_read_wherever_it_is_cut(
    hosts: tuple[IPAddress, IPAddress],
    source: int,
    destination: int,
    more: bytes,
    is_line: bool,
    data: st.DataObject,
) -> None:
    one, other = (ip_address(str(host)) for host in hosts)
    if one.version != other.version:
        return  # one of them is an IPv4 address in IPv6's clothes
    assume(source and not one.is_unspecified)
    wire = header((str(one), source), (str(other), destination))
    if is_line:
        wire = f"PROXY TCP{one.version} {one} {other} {source} {destination}\r\n".encode()
    cut = data.draw(st.integers(0, len(wire)))
    expected = Proxied((one, source), (other, destination))
    assert read(wire[:cut], wire[cut:] + more) == (expected, more)
    assert read(*(wire[at : at + 1] for at in range(len(wire))), more) == (expected, more)


@given(st.lists(st.binary(max_size=300), max_size=20))
@example([b"PROXY TCP4 " + bytes(200)])
@example([b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"])
def test_garbage_is_refused_or_waited_for_within_bounds(pieces: list[bytes]) -> None:
    with suppress(InvalidHeader):
        read(*pieces)


@given(
    st.sampled_from([b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n", V4]),
    st.lists(st.tuples(st.integers(0, 41), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_a_damaged_header_names_nobody_that_twisted_would_not(
    wire: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(wire)
    for place, value in changes:
        damaged[place % len(wire)] = value
    try:
        found = read(bytes(damaged))
    except InvalidHeader:
        return
    if found is None or found[0].source is None:
        return
    parser = V2Parser if wire is V4 else V1Parser
    info, _ = parser().feed(bytes(damaged))
    assert info is not None
    said = info.source
    assert isinstance(said, (IPv4Address, IPv6Address))
    assert (ip_address(said.host), said.port) == found[0].source


def test_extensions_are_stepped_over_and_too_many_are_refused() -> None:
    extensions = b"\x03\0\x04" + b"crc."
    length = (12 + len(extensions)).to_bytes(2, "big")
    wire = V4[:14] + length + V4[16:] + extensions
    found = read(wire + b"more")
    assert found is not None
    assert found[1] == b"more"
    assert found[0] == read(V4)[0]  # type: ignore[index]
    with pytest.raises(InvalidHeader, match="longer than"):
        read(V4[:14] + LONGEST.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("0.0.0.0", 5000),
        ("::", 5000),
        ("::ffff:0.0.0.0", 5000),
        ("192.0.2.7", 0),
        ("2001:db8::7", 0),
    ],
)
def test_a_source_that_no_client_has_is_garbage(host: str, port: int) -> None:
    to = "2001:db8::1" if host in ("::", "2001:db8::7") else "192.0.2.1"
    family = 6 if ":" in to else 4
    with pytest.raises(InvalidHeader, match="no client has"):
        read(header((host, port), (to, 443)))
    with pytest.raises(InvalidHeader):
        read(f"PROXY TCP{family} {host} {to} {port} 443\r\n".encode())
