"""What an endpoint string describes is what listens, or the error says why not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.balancer.listening import adopted, listening_socket, open_all, open_for, shown
from homing.shared.errors import HomingError
from tests.balancer.running import HELLO, HandOffServer, balancing, connect, is_served, serving
from tests.reactor import HOST, WITHIN

ROOT = Path(__file__).parent.parent.parent

AS_SYSTEMD_DOES = """
import os, sys
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="in")
if len(sys.argv) > 2:
    os.dup2(int(sys.argv[2]), 3)
from homing.balancer.listening import listening_socket
from homing.shared.errors import HomingError
try:
    one = listening_socket(sys.argv[1])
    assert not one.getblocking() and not one.get_inheritable()
    print(one.getsockname()[1])
except HomingError as error:
    print(error)
"""


def by_systemd(description: str, passed: socket.socket) -> str:
    """What a process that inherited a socket as systemd passes it says about `description`."""
    command = [sys.executable, "-c", AS_SYSTEMD_DOES, description, str(passed.fileno())]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        pass_fds=[passed.fileno()],
        capture_output=True,
        text=True,
        timeout=WITHIN,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize(
    ("description", "family", "host"),
    [
        ("tcp:0", socket.AF_INET, "0.0.0.0"),
        ("tcp:0:interface=127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("tcp:port=0:interface=127.0.0.1:backlog=5", socket.AF_INET, "127.0.0.1"),
        ("tcp6:0", socket.AF_INET6, "::"),
        ("tcp6:0:interface=\\:\\:1", socket.AF_INET6, "::1"),
        ("tcp:0:interface=\\:\\:1", socket.AF_INET6, "::1"),
    ],
)
def test_an_endpoint_string_is_listened_at(
    description: str, family: socket.AddressFamily, host: str
) -> None:
    with listening_socket(description) as one:
        assert (one.family, one.getsockname()[0]) == (family, host)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert not one.getblocking()
        assert not one.get_inheritable()


def test_ipv4_and_ipv6_clients_are_served_at_one_port_number(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as probe:
        port = probe.getsockname()[1]
    listen = [f"tcp:{port}", f"tcp6:{port}"]
    with serving(tmp_path, 1, listen=listen) as (balancer, _, (server,)):
        assert balancer.ingresses.addresses == [f"0.0.0.0:{port}", f"[::]:{port}"]
        for host in (HOST, "::1"):
            is_served((host, port), server)


def test_a_restarted_balancer_takes_its_port_back_while_old_connections_rest() -> None:
    with listening_socket(f"tcp:0:interface={HOST}") as one:
        port = one.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            one.setblocking(True)
            one.accept()[0].close()  # ours closes first: it rests in TIME_WAIT
            assert client.recv(1) == b""
    listening_socket(f"tcp:{port}:interface={HOST}").close()


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("tcp:0:interface=192.0.2.1", "Cannot assign requested address"),
        ("tcp:0:interface=no-such-name.invalid", "(?i)name|resolution"),
        ("tcp6:0:interface=nonsense\\:", "(?i)name|resolution"),
        ("systemd:domain=INET:index=0", "no such socket was inherited"),
        ("systemd:domain=INET:name=in", "no such socket was inherited"),
        ("systemd:domain=INET", "exactly one of descriptor index or name"),
        ("unix:/tmp/never.sock", "only tcp:, tcp6: and systemd:"),
        ("nonsense", "only tcp:, tcp6: and systemd:"),
    ],
)
def test_what_cannot_be_listened_at_is_named_with_the_reason(description: str, why: str) -> None:
    with pytest.raises(HomingError, match=why) as raised:
        listening_socket(description)
    assert str(raised.value).startswith(f"cannot listen at {shown(description)}: ")


def test_a_port_in_use_is_named_and_the_sockets_opened_before_it_are_closed() -> None:
    with socket.create_server((HOST, 0)) as taken, ExitStack() as stack:
        port = taken.getsockname()[1]
        with socket.create_server((HOST, 0)) as probe:
            free = probe.getsockname()[1]
        with pytest.raises(HomingError, match=f"at tcp:{port}.*: Address already in use"):
            open_all([f"tcp:{free}:interface={HOST}", f"tcp:{port}:interface={HOST}"])
        stack.enter_context(socket.create_server((HOST, free)))


@pytest.mark.parametrize("which", ["index=0", "name=in"])
def test_a_socket_that_systemd_opened_is_taken(which: str) -> None:
    with socket.create_server((HOST, 0)) as one:
        assert by_systemd(f"systemd:domain=INET:{which}", one) == str(one.getsockname()[1])


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("systemd:domain=INET:index=1", "no such socket was inherited"),
        ("systemd:domain=INET:name=out", "no such socket was inherited"),
        ("systemd:domain=INET6:index=0", "the inherited socket is of the domain INET"),
        ("systemd:domain=MARS:index=0", "MARS"),
    ],
)
def test_a_systemd_socket_that_does_not_fit_is_an_error_and_no_traceback(
    description: str, why: str
) -> None:
    with socket.create_server((HOST, 0)) as one:
        said = by_systemd(description, one)
        assert said.startswith(f"cannot listen at {description}: ")
        assert why in said


def test_an_inherited_socket_that_does_not_listen_is_refused() -> None:
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for one in (idle, udp):
            with pytest.raises(ValueError, match="not a listening TCP socket"):
                adopted(os.dup(one.fileno()))


def test_a_balancer_that_ends_leaves_its_clients_to_the_next_one_at_the_same_socket(
    tmp_path: Path,
) -> None:
    with (
        HandOffServer(tmp_path / "s1.sock") as server,
        listening_socket(f"tcp:0:interface={HOST}") as kept,
    ):
        address = kept.getsockname()
        for _ in range(2):
            with connect(address, HELLO) as client:  # waits in the kernel's queue
                with balancing({"s1": server.path}, sockets=[kept.dup()]) as (_, at):
                    assert at == address
                    server.greet()
                    assert server.serve() == HELLO
                    assert client.recv(100) == b"served"


@pytest.mark.parametrize("description", ["tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1"])
def test_each_worker_has_a_queue_of_its_own_and_clients_come_into_all(description: str) -> None:
    with ExitStack() as stack:
        workers = open_for(3, [description])
        for (one,) in workers:
            stack.enter_context(one)
            assert not one.get_inheritable()
        (at,) = {one.getsockname() for (one,) in workers}
        for _ in range(96):
            stack.enter_context(socket.create_connection(at[:2]))
        for (one,) in workers:
            one.accept()[0].close()


def test_a_port_that_several_workers_share_is_refused_to_all_others() -> None:
    with ExitStack() as stack:
        for (one,) in open_for(2, [f"tcp:0:interface={HOST}"]):
            stack.enter_context(one)
        taken = f"tcp:{one.getsockname()[1]}:interface={HOST}"
        for workers in (1, 2):
            with pytest.raises(HomingError, match="Address already in use"):
                open_for(workers, [taken])
