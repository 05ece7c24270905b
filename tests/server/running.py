"""Servers and balancers' links for the tests, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Protocol

from homing.server.apps.demo import site
from homing.server.groups.group import Group
from homing.server.service import TCPAddress, TLSServer, UnixAddress
from homing.server.tls.context import server_context
from homing.server.tls.factory import SessionTLSFactory
from homing.server.tls.listening import Arrivals, listen
from homing.shared.fingerprint import digest
from homing.shared.handoff import ACCEPTED, CONNECTION, greeting, read_greeting
from homing.shared.record import Record
from tests.reactor import HOST, WITHIN, call, eventually, reactor
from tests.tls import RECORD, issuer, options


@contextmanager
def serving(
    address: UnixAddress | TCPAddress,
    application: IProtocolFactory | None = None,
    record: Record = RECORD,
    group: Group | None = None,
    log_connections: bool = False,
    **tls: Any,
) -> Iterator[TLSServer]:
    """A server that runs."""
    server = TLSServer(
        reactor(),
        "s1",
        address,
        record=record,
        options=options(**tls),
        application=application or site("s1"),
        group=group,
        log_connections=log_connections,
    )
    call(server.startService)
    try:
        yield server
    finally:
        if server.running:
            call(server.stopService)


@contextmanager
def tls_port(
    application: IProtocolFactory | None = None,
    group: Group | None = None,
    tls: dict[str, Any] | None = None,
    **more: Any,
) -> Iterator[tuple[SessionTLSFactory, int]]:
    """TLS alone on a loopback port, with deadlines of its own."""
    context = server_context(options(**(tls or {})), issuer(), group)
    factory = SessionTLSFactory(context, application or site("s1"), reactor(), **more)
    arrivals = Arrivals(factory.application, factory.take)
    port = call(lambda: listen(reactor(), "127.0.0.1", 0, arrivals))
    try:
        yield factory, port.getHost().port
        eventually(lambda: not factory.connections, "all connections are over")
    finally:
        call(port.stopListening)


def free_port(host: str = HOST) -> int:
    """A port of this test process's own address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class FailsAtOnce(Protocol):
    """An application that fails for every connection."""

    def connectionMade(self) -> None:
        raise ValueError("no")


class BalancersEnd:
    """A balancer's end of a link, spoken by hand."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WITHIN)
        self.socket.connect(str(path))

    def __enter__(self) -> BalancersEnd:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def greeting(self) -> int:
        """How many connections the server says it has."""
        read = read_greeting(self.words(len(greeting(0, digest(RECORD)))))
        assert read is not None
        return read[0].active

    def words(self, count: int = 1) -> bytes:
        """What the server says next; less only if it hangs up."""
        said = b""
        while len(said) < count and (more := self.socket.recv(count - len(said))):
            said += more
        return said

    def send(self, connection: socket.socket) -> None:
        """Pass a connection over."""
        socket.send_fds(self.socket, [CONNECTION], [connection.fileno()])

    def hand_over(self, connection: socket.socket) -> None:
        """Pass a connection over, and close it once it is accepted."""
        self.send(connection)
        assert self.words() == ACCEPTED
        connection.close()
