"""Balancers for the tests, and servers spoken by hand, over real sockets."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any

import attrs

from homing.balancer.data_planes.link import MOST_UNANSWERED
from homing.balancer.data_planes.relay import RelayOptions
from homing.balancer.learned import LearnedIds
from homing.balancer.options import BalancerOptions
from homing.balancer.routing import Reason
from homing.balancer.service import Balancer
from homing.balancer.table import Entry, Table
from homing.balancer.ways import To, Way
from homing.shared.addresses import split_host_and_port
from homing.shared.client_hello import CEILING
from homing.shared.farm_state.values import ServerFacts
from homing.shared.fingerprint import DIGEST_LENGTH
from homing.shared.handoff import ACCEPTED, ENDED, REFUSED, greeting
from homing.shared.id_sets import IdRange
from homing.shared.record import Record
from tests.reactor import HOST, WITHIN, call, eventually, reactor
from tests.sample_hellos import sample

OPTIONS = BalancerOptions(
    listen=[f"tcp:0:interface={HOST}"],
    policy="round-robin",
    ignore_ids=False,
    close_not_tls=False,
    hello_timeout=5.0,
    hello_ceiling=CEILING,
    max_waiting=4096,
    max_connections=100_000,
    max_source_rate=0.0,
    log_decisions=False,
    source_rate=200.0,
    server_excess=2.0,
)

HELLO = sample("openssl-first12").wire
"""A complete hello of a new client."""

TABLE = Table(tuple(Entry(name, IdRange.of_prefix(name.encode())) for name in ("s1", "s2")))

One = tuple[Balancer, tuple[str, int], "HandOffServer"]
Two = tuple[Balancer, tuple[str, int], "HandOffServer", "HandOffServer"]


@contextmanager
def balancing(
    servers: Mapping[str, str | RelayOptions],
    table: Table | None = None,
    sockets: Sequence[socket.socket] | None = None,
    records: Mapping[str, Record] | None = None,
    learns: bool = False,
    **options: Any,
) -> Iterator[tuple[Balancer, tuple[str, int]]]:
    """A balancer that runs, and where."""
    chosen = attrs.evolve(OPTIONS, **options)
    balancer = Balancer(
        reactor(),
        chosen,
        table or Table(),
        servers,
        learned=LearnedIds(100, 1000.0) if learns else None,
        key_names=LearnedIds(100, 1000.0) if learns else None,
        records=records,
        sockets=sockets,
    )
    call(balancer.startService)
    host, _, port = balancer.ingresses.addresses[0].rpartition(":")
    try:
        yield balancer, (host.strip("[]"), int(port))
    finally:
        if balancer.running:
            call(balancer.stopService)


@contextmanager
def serving(
    folder: Path, count: int, **options: Any
) -> Iterator[tuple[Balancer, tuple[str, int], list[HandOffServer]]]:
    """A balancer over hand-off servers s1, s2 and so on, which are up."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(HandOffServer(folder / f"s{n + 1}.sock")) for n in range(count)
        ]
        paths = {f"s{n + 1}": server.path for n, server in enumerate(servers)}
        balancer, address = stack.enter_context(balancing(paths, TABLE, **options))
        for server in servers:
            server.greet()
        wait_up(balancer, *paths)
        yield balancer, address, servers


def wait_up(balancer: Balancer, *servers: str) -> None:
    """Wait until these servers are up."""
    call(balancer.when_up, servers)


def connect(address: tuple[str, int], data: bytes = b"") -> socket.socket:
    """A client that has sent `data`."""
    client = socket.create_connection(address, WITHIN)
    client.sendall(data)
    return client


def way_to(host: str, port: int, **options: Any) -> RelayOptions:
    """How a balancer reaches a server over TCP."""
    usual: dict[str, Any] = {"learn_ids": False, "proxy_protocol": False}
    usual |= {"connect_timeout": 3.0, "idle_timeout": 3600.0}
    return RelayOptions(host=host, port=port, **(usual | options))


def to_servers(folder: Path) -> To:
    """Ways to servers at any address; the paths of UNIX sockets start from `folder`."""

    def to(name: str, facts: ServerFacts) -> Way:
        kind, _, rest = facts.address.partition(":")
        if kind == "unix" and rest and facts.managed:
            return str(folder / rest)
        if kind != "tcp":
            raise ValueError(f"{facts.address!r} is not unix:PATH or tcp:HOST:PORT")
        host, port = split_host_and_port(rest)
        return way_to(host, port, proxy_protocol=facts.proxy_protocol)

    return to


def _adopted(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)


class HandOffServer:
    """A server's socket, where the test itself says what the server says."""

    def __init__(self, path: Path) -> None:
        self._port = socket.socket(socket.AF_UNIX)
        self._port.bind(str(path))
        self._port.listen()
        self._port.settimeout(WITHIN)
        self.path = str(path)
        self.link = socket.socket()
        self.links = 0
        self._taken: deque[socket.socket] = deque()

    def __enter__(self) -> HandOffServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.die()
        self._port.close()

    def await_link(self) -> None:
        """Let the balancer connect, and say nothing."""
        self.die()
        self.link, _ = self._port.accept()
        self.link.settimeout(WITHIN)
        self.links += 1

    def greet(self, active: int = 0, digest: bytes = bytes(DIGEST_LENGTH)) -> HandOffServer:
        """Let the balancer connect, and greet."""
        self.await_link()
        self.link.sendall(greeting(active, digest))
        return self

    def is_asked(self, seconds: float) -> bool:
        """Whether there is a connection to take, at the latest in so many seconds."""
        return bool(self._taken or select([self.link], [], [], seconds)[0])

    def take(self) -> socket.socket:
        """The next connection, unanswered.  Fails when the balancer hangs up instead."""
        if not self._taken:
            data, numbers, _, _ = socket.recv_fds(self.link, MOST_UNANSWERED, MOST_UNANSWERED)
            assert data == b"C" * len(numbers) != b"", "the balancer hung up"
            self._taken += map(_adopted, numbers)
        connection = self._taken.popleft()
        connection.settimeout(WITHIN)
        return connection

    def serve(self) -> bytes:
        """Accept the next connection, answer its hello, and end it."""
        with self.take() as connection:
            self.link.sendall(ACCEPTED)
            hello = connection.recv(65536)
            connection.sendall(b"served")
        self.link.sendall(ENDED)
        return hello

    def refuse(self) -> None:
        """Refuse the next connection."""
        self.take().close()
        self.link.sendall(REFUSED)

    def die(self) -> None:
        """End the link."""
        self.link.close()
        while self._taken:
            self._taken.pop().close()


class TCPServer:
    """A relayed server, spoken by hand."""

    def __init__(
        self, family: socket.AddressFamily = socket.AF_INET, host: str = "", port: int = 0
    ) -> None:
        self._port = socket.socket(family)
        self._port.bind((host or ("::1" if family is socket.AF_INET6 else HOST), port))
        self._port.listen()
        self._port.settimeout(WITHIN)
        self.host, self.port = self._port.getsockname()[:2]

    def way(self, **options: Any) -> RelayOptions:
        """How the balancer reaches it."""
        return way_to(self.host, self.port, **options)

    def accept(self) -> socket.socket:
        """The next connection that says something; the balancer's probes say nothing."""
        while True:
            connection, _ = self._port.accept()
            connection.settimeout(WITHIN)
            with suppress(ConnectionError):
                if connection.recv(1, socket.MSG_PEEK):
                    return connection
            connection.close()

    def __enter__(self) -> TCPServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._port.close()


def closes_within(client: socket.socket, seconds: float) -> float:
    """Wait for the end of a connection; how long that took."""
    begun = time.monotonic()
    client.settimeout(seconds)
    with suppress(ConnectionError):
        assert client.recv(1) == b""
    return time.monotonic() - begun


def waits(balancer: Balancer, count: int) -> None:
    """Wait until so many connections wait in the balancer."""
    eventually(lambda: len(balancer.dispatch.waiting) == count, f"{count} wait")


def counted(balancer: Balancer, server: str, reason: Reason, count: int) -> None:
    """Wait until so many connections are counted: a server has them before that."""
    eventually(lambda: balancer.counts[server][reason] >= count, f"{count} are counted")
    assert balancer.counts[server][reason] == count


def is_served(address: tuple[str, int], server: HandOffServer) -> None:
    """A client with a whole hello gets its answer from this server."""
    with connect(address, HELLO) as client:
        assert server.serve() == HELLO
        assert client.recv(100) == b"served"
