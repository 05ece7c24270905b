"""TLS servers that are not ours, but keep to their IDs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from homing.certs.demo import demo_certificates
from homing.farm.commands.s_client import Client
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, listens, process
from tests.reactor import eventually


def farm_of(
    stack: ExitStack, folder: Path, prefixes: dict[str, str | None], options: tuple[str, ...]
) -> str:
    """`openssl s_server` processes by name, some with an ID prefix, behind a balancer."""
    certificates = demo_certificates(folder)
    ports = {name: free_port() for name in prefixes}
    balancer_port = free_port()
    servers = ""
    for name, prefix in prefixes.items():
        servers += f'[[server]]\nname="{name}"\naddress="tcp:127.0.0.1:{ports[name]}"\n'
        servers += "managed=false\n"
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{ports[name]}", "-www", *options]
        command += ["-cert", str(certificates.certificate), "-key", str(certificates.key)]
        if prefix is not None:
            servers += f'ids={{ prefix = "{prefix.encode().hex()}" }}\n'
            command += ["-id_prefix", prefix]
        stack.enter_context(process(*command, cwd=folder))
    arguments = config_of(folder, servers, f"tcp:{balancer_port}:interface=127.0.0.1")
    twistd = [*COMMAND, "balancer"]
    stack.enter_context(process(*twistd, *arguments, cwd=folder))
    eventually(lambda: all(listens(port) for port in (*ports.values(), balancer_port)))
    return f"127.0.0.1:{balancer_port}"


def returns(connect: str, version: str, folder: Path, times: int) -> list[bool]:
    """Whether each of `times` return visits of six clients resumed."""
    clients = [Client(connect, version, folder / f"{version}-{index}") for index in range(6)]
    assert not any(client.visit().resumed for client in clients)
    return [client.visit().resumed for client in clients for _ in range(times)]


def test_openssl_servers_that_keep_to_a_prefix_get_their_clients_back(tmp_path: Path) -> None:
    prefixes: dict[str, str | None] = {"a": "SRVA", "b": "SRVB", "c": "SRVC"}
    with ExitStack() as stack:
        connect = farm_of(stack, tmp_path, prefixes, ("-no_ticket",))
        for version in ("1.2", "1.3"):
            assert returns(connect, version, tmp_path, 3) == [True] * 18


def test_openssl_servers_that_keep_to_nothing_get_their_tls12_clients_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        connect = farm_of(stack, tmp_path, dict.fromkeys("abc"), ("-no_ticket",))
        assert returns(connect, "1.2", tmp_path, 3) == [True] * 18
