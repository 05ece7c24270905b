"""TLS servers that are not ours, but keep to their IDs."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from certs.demo import demo_certificates
from farm.s_client import Client
from tests.whole.processes import config_of, free_port, listens, process, until

_TWISTD = "from twisted.scripts.twistd import run; run()"


def test_openssl_servers_that_keep_to_a_prefix_get_their_clients_back(tmp_path: Path) -> None:
    certificates = demo_certificates(tmp_path)
    prefixes = {"SRVA": free_port(), "SRVB": free_port(), "SRVC": free_port()}
    balancer_port = free_port()
    servers = "".join(
        f'[[server]]\nname="{name}"\naddress="tcp:127.0.0.1:{port}"\nmanaged=false\n'
        f'ids={{ prefix = "{name.encode().hex()}" }}\n'
        for name, port in prefixes.items()
    )
    arguments = config_of(tmp_path, servers, f"tcp:{balancer_port}:interface=127.0.0.1")
    with ExitStack() as stack:
        for prefix, port in prefixes.items():
            command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-no_ticket"]
            command += ["-id_prefix", prefix, "-cert", str(certificates.certificate)]
            command += ["-key", str(certificates.key)]
            stack.enter_context(process(*command, cwd=tmp_path))
        twistd = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "homing-balancer"]
        stack.enter_context(process(*twistd, *arguments, cwd=tmp_path))
        until(lambda: all(listens(port) for port in (*prefixes.values(), balancer_port)))
        for version in ("1.2", "1.3"):
            clients = [
                Client(f"127.0.0.1:{balancer_port}", version, tmp_path / f"{version}-{index}")
                for index in range(9)
            ]
            assert not any(client.visit().resumed for client in clients)
            returns = [client.visit().resumed for client in clients for _ in range(4)]
            assert returns == [True] * 36
