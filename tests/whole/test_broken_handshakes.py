"""An ID is seen by everybody on its way: what others do with it costs its client no session."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.processes import demo_farm
from tests.tls import read_all, reset
from tests.whole.clients import context, visit

_CLIENTS = 10
_RUBBISH = b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x28" + bytes(40)


@pytest.fixture(scope="module")
def ids_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """Two servers whose sessions are named by IDs, in TLS 1.2 and 1.3."""
    state = tmp_path_factory.mktemp("ids")
    with demo_farm(state, "--servers", "2", "--resumption", "ids") as one:
        yield one


def _hello(client: ssl.SSLContext, session: ssl.SSLSession | None) -> bytes:
    """The hello of a client that comes back with `session`."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    back = client.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
    with pytest.raises(ssl.SSLWantReadError):
        back.do_handshake()
    return outgoing.read()


def _resets_within_its_handshake(connection: socket.socket, hello: bytes) -> None:
    connection.sendall(hello)
    assert connection.recv(65536), "no ServerHello"
    reset(connection)


def _forges(connection: socket.socket, hello: bytes) -> None:
    connection.sendall(hello)
    assert connection.recv(65536), "no ServerHello"
    with suppress(ConnectionError):
        connection.sendall(_RUBBISH)
    read_all(connection)


@pytest.mark.parametrize("somebody", [_resets_within_its_handshake, _forges])
def test_a_handshake_that_somebody_breaks_off_ends_no_session(
    ids_farm: LocalFarm, version: str, somebody: Callable[[socket.socket, bytes], None]
) -> None:
    clients = [context(ids_farm.ca, version) for _ in range(_CLIENTS)]
    first = [visit(ids_farm.listen, client) for client in clients]
    for client, seen in zip(clients, first, strict=True):
        address = split_host_and_port(ids_farm.listen)
        with socket.create_connection(address, timeout=20) as connection:
            somebody(connection, _hello(client, seen.session))
    for client, seen in zip(clients, first, strict=True):
        assert visit(ids_farm.listen, client, seen.session).reused
