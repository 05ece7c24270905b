"""What is learned from a relayed server that keeps to no record: sessions, not attempts."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from homing.balancer.data_planes.relay import RelayOptions
from homing.balancer.learned import LearnedIds
from homing.balancer.service import Balancer
from tests.balancer.running import balancing, connect, wait_up, way_to
from tests.reactor import HOST, WITHIN, eventually
from tests.tls import Session, certificates, read_all, reset, shake_hands

TLS12 = ssl.TLSVersion.TLSv1_2


@contextmanager
def tls_server() -> Iterator[RelayOptions]:
    """A TLS server that is not ours: it says hello to everybody, a connection a thread."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().certificate, certificates().key)
    context.options |= ssl.OP_NO_TICKET

    def serve(connection: socket.socket) -> None:
        connection.settimeout(WITHIN)
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"hello")
            tls.unwrap()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=port.accept()[:1], daemon=True).start()

    with socket.create_server((HOST, 0)) as port:
        threading.Thread(target=accept, daemon=True).start()
        yield way_to(HOST, port.getsockname()[1], learn_ids=True)
        port.shutdown(socket.SHUT_RDWR)


def visit(address: tuple[str, int], session: Session | None = None) -> Session:
    with shake_hands(connect(address), TLS12, session) as tls:
        assert read_all(tls) == b"hello"
        assert tls.session is not None
        return tls.session


def leave_unfinished(address: tuple[str, int]) -> None:
    """Have a server give an ID out, and go."""
    client = ssl.create_default_context(cafile=str(certificates().ca))
    client.maximum_version = TLS12
    goes, came = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(came, goes, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    plain = connect(address, goes.read())
    assert plain.recv(65536)[0] == 22  # the server's flight, with an ID in it
    reset(plain)


def known(balancer: Balancer) -> LearnedIds:
    assert balancer.rules.learned is not None
    return balancer.rules.learned


def test_a_flood_of_unfinished_handshakes_leaves_what_was_learned() -> None:
    with tls_server() as way, balancing({"s1": way}) as (balancer, address):
        balancer.rules = attrs.evolve(balancer.rules, learned=LearnedIds(5, 1000.0))
        wait_up(balancer, "s1")
        mine = visit(address)
        eventually(lambda: len(known(balancer)) == 1)
        for _ in range(20):
            leave_unfinished(address)
        eventually(lambda: balancer.planes["s1"].active == 0)
        assert len(known(balancer)) == 1
        assert known(balancer).owner(mine.id, 0.0) == "s1"


def test_a_session_that_is_resumed_is_learned_by_a_balancer_that_has_just_begun() -> None:
    with tls_server() as way:
        with balancing({"s1": way}) as (balancer, address):
            wait_up(balancer, "s1")
            mine = visit(address)
        with balancing({"s1": way}) as (balancer, address):
            balancer.rules = attrs.evolve(balancer.rules, learned=LearnedIds(5, 1000.0))
            wait_up(balancer, "s1")
            visit(address, mine)
            eventually(lambda: known(balancer).owner(mine.id, 0.0) == "s1")
