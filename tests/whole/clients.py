"""TLS clients for whole farms: Python's own `ssl`, fast and with sessions."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from homing.shared.addresses import split_host_and_port
from tests.tls import reset

REQUEST = b"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
STAYING = REQUEST.replace(b"Connection: close\r\n", b"")
"""After the answer to this one the connection can be asked again."""
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def context(ca: Path, version: str, tickets: bool = True) -> ssl.SSLContext:
    """A client that verifies, of one TLS version; it may refuse tickets."""
    made = ssl.create_default_context(cafile=str(ca))
    made.minimum_version = made.maximum_version = VERSIONS[version]
    if not tickets:
        made.options |= ssl.OP_NO_TICKET
    return made


CARRIERS: dict[str, Callable[[Path], ssl.SSLContext]] = {
    "TLS 1.2 ID": lambda ca: context(ca, "TLSv1.2", tickets=False),
    "TLS 1.2 ticket": lambda ca: context(ca, "TLSv1.2"),
    "TLS 1.3": lambda ca: context(ca, "TLSv1.3"),
}
"""What clients come back with, and how one is made that does, given the CA."""


@attrs.frozen
class Seen:
    """What one visit saw."""

    answer: dict[str, Any]
    reused: bool
    session: ssl.SSLSession | None


def connect(
    listen: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """A TLS connection, after its handshake."""
    plain = socket.create_connection(split_host_and_port(listen), timeout=20)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as browsers and curl do
    return context.wrap_socket(plain, server_hostname="localhost", session=session)


def ask(connection: ssl.SSLSocket, request: bytes = REQUEST) -> dict[str, Any]:
    """What /session answers on `connection`."""
    connection.sendall(request)
    answer = b""
    while b"}" not in answer:
        more = connection.recv(65536)
        assert more, f"the connection ended within the answer: {answer!r}"
        answer += more
    parsed: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return parsed


def visit(
    listen: str,
    context: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
    leave_by_reset: bool = False,
) -> Seen:
    """Connect, ask for /session, and leave."""
    connection = connect(listen, context, session)
    try:
        answer = ask(connection)
        seen = Seen(answer, bool(connection.session_reused), connection.session)
        if leave_by_reset:
            reset(connection)
    finally:
        connection.close()
    return seen
