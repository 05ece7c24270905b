"""Clients with IPv4 and with IPv6 come in, whoever opened the socket."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.processes.local import running
from homing.farm.processes.run import COMMAND
from tests.processes import PLANES, config_of, free_port, local_servers, process
from tests.reactor import eventually
from tests.whole.clients import context, visit

AS_SYSTEMD_DOES = """
import os, sys
os.dup2(int(sys.argv.pop(1)), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="in")
from homing.farm.commands import main; main()
"""


def test_one_port_number_takes_ipv4_and_ipv6_as_in_the_readme(tmp_path: Path) -> None:
    port = free_port()
    config = config_of(tmp_path, local_servers("s1"), f'tcp:{port}", "tcp6:{port}')
    with running(tmp_path, config) as farm:
        client = context(farm.ca, "TLSv1.3")
        first = visit(f"127.0.0.1:{port}", client)
        again = visit(f"[::1]:{port}", client, first.session)
    assert first.answer["client"].startswith("127.0.0.1:")
    assert again.answer["client"].startswith("[::1]:")
    assert again.reused


@pytest.mark.parametrize("plane", PLANES)
def test_ipv6_clients_resume_and_keep_their_address(tmp_path: Path, plane: str) -> None:
    listen = "tcp6:0:interface=\\:\\:1"
    with running(
        tmp_path, ["--listen", listen, "--state-dir", str(tmp_path), *PLANES[plane]]
    ) as farm:
        clients = context(farm.ca, "TLSv1.3")
        first = visit(farm.listen, clients)
        assert visit(farm.listen, clients, first.session).reused
        assert first.answer["client"].startswith("[::1]:")


def test_a_socket_for_both_that_systemd_opened_is_served(tmp_path: Path) -> None:
    certificates = demo_certificates(tmp_path)
    config = config_of(tmp_path, local_servers("s1"), "systemd:domain=INET6:name=in")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as opened:
        port = opened.getsockname()[1]
        opened.set_inheritable(True)
        server = (*COMMAND, "server", *config, "--name", "s1")
        inherits = str(opened.fileno())
        balancer = (sys.executable, "-c", AS_SYSTEMD_DOES, inherits, "balancer")
        with (
            process(*server, cwd=tmp_path),
            process(*balancer, *config, cwd=tmp_path, pass_fds=[opened.fileno()]),
        ):
            eventually((tmp_path / "s1.sock").exists)
            client = context(certificates.ca, "TLSv1.3")
            first = visit(f"127.0.0.1:{port}", client)
            again = visit(f"[::1]:{port}", client, first.session)
    assert first.answer["client"].startswith("127.0.0.1:")
    assert again.reused
