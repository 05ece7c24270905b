"""Behind a proxy: its clients are seen as what they are, and nobody is made up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from homing.server.service import TCPAddress
from homing.shared.proxy_protocol import header, local_header
from tests.logs import log
from tests.reactor import HOST, WITHIN
from tests.server.running import free_port, serving
from tests.tls import ask, read_all, shake_hands

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = header(("192.0.2.7", 5000), ("192.0.2.1", 443))


@contextmanager
def behind_proxy(*trusted: str, host: str = HOST) -> Iterator[tuple[str, int]]:
    """Where a server listens that expects a PROXY header."""
    networks = tuple(map(ip_network, trusted)) if trusted else None
    address = TCPAddress(host, free_port(host), True, networks)
    with serving(address):
        yield host, address.port


@pytest.mark.parametrize(
    ("begins", "shown"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n", "192.0.2.7:5000"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n", "[2001:db8::7]:5000"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 5000 443\r\n", "192.0.2.7:5000"),
        (V4, "192.0.2.7:5000"),
        (header(("2001:db8::7", 5000), ("::1", 443)), "[2001:db8::7]:5000"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff 1.1.1.1 65535 65535\r\n", None),
        (local_header(), None),
        (SIGNATURE + b"\x20\x11\0\x0c" + V4[16:], None),  # LOCAL, with addresses
        (SIGNATURE + b"\x21\0\0\x03\1\2\3", None),  # unspecified
        (SIGNATURE + b"\x21\x31\0\xd8" + b"/made/up".ljust(216, b"\0"), None),  # UNIX
    ],
)
@pytest.mark.parametrize("pieces", [1, 3], ids=["whole", "cut"])
def test_the_client_is_whom_the_header_names_or_else_the_proxy(
    begins: bytes, shown: str | None, pieces: int
) -> None:
    with behind_proxy() as address, socket.create_connection(address, WITHIN) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = -(-len(begins) // pieces)
        for at in range(0, len(begins), step):
            plain.sendall(begins[at : at + step])
        host, port = plain.getsockname()[:2]
        with shake_hands(plain) as tls:
            assert ask(tls)["client"] == (shown or f"{host}:{port}")


@pytest.mark.parametrize(
    "begins",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # a hello without a header
        b"PROXY TCP4 localhost 192.0.2.1 5000 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 5000 443\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.1 5000 443\r\n",
        b"PROXY TCP6 fe80::1%lo fe80::1 5000 443\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5e3 443\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 5000 443\r\n",
        b"PROXY \r\n",
        b"PROXY " + bytes(102),
        SIGNATURE + b"\x11\x11\0\x0c" + V4[16:],  # version 1
        SIGNATURE + b"\x22\x11\0\x0c" + V4[16:],  # a command that is none
        SIGNATURE + b"\x21\x41\0\x0c" + V4[16:],  # a family that is none
        SIGNATURE + b"\x21\x11\0\x04" + V4[16:],
        SIGNATURE + b"\x21\x21\0\x0c" + V4[16:],
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_garbage_ends_the_connection_and_no_other(begins: bytes) -> None:
    with behind_proxy() as address, log("homing.server.tls.proxied") as said:
        with socket.create_connection(address, WITHIN) as plain:
            plain.sendall(begins)
            assert read_all(plain) == b""
        with socket.create_connection(address, WITHIN) as plain:
            plain.sendall(V4)
            with shake_hands(plain) as tls:
                assert ask(tls)["client"] == "192.0.2.7:5000"
    (line,) = said
    assert line.startswith("connections closed that came through no trusted proxy: 1; the last")


@pytest.mark.parametrize("trusted", ["127.0.0.0/8", f"{HOST}"], ids=["here", "there"])
def test_a_trusted_proxy_is_believed(trusted: str) -> None:
    with behind_proxy("10.0.0.0/8", trusted, "::1") as address:
        with socket.create_connection(address, WITHIN, (HOST, 0)) as plain:
            plain.sendall(V4)
            with shake_hands(plain) as tls:
                assert ask(tls)["client"] == "192.0.2.7:5000"


@pytest.mark.parametrize("host", ["::1", HOST], ids=["here", "there"])
def test_who_is_not_trusted_is_closed_and_that_is_said_once(host: str) -> None:
    with behind_proxy("10.0.0.0/8", "2001:db8::/32", host=host) as address:
        with log("homing.server.tls.proxied") as said:
            for _ in range(5):
                with socket.create_connection(address, WITHIN) as plain:
                    assert read_all(plain) == b""
    (line,) = said
    assert "it is not in proxy_protocol_from" in line
