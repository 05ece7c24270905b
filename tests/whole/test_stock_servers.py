"""Stock nginx and HAProxy on relay: a probe sees their tickets' key name, and clients come back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.commands.s_client import Client
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, listens, process
from tests.reactor import eventually

NGINX = """
daemon off; worker_processes 2; pid {name}.pid; error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {name}-1; proxy_temp_path {name}-2; fastcgi_temp_path {name}-3;
  uwsgi_temp_path {name}-4; scgi_temp_path {name}-5;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate server.pem; ssl_certificate_key server-key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ return 200 "{name}"; }}
  }}
}}
"""
HAPROXY = """
global
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 5s
frontend {name}
  bind 127.0.0.1:{port} ssl crt both.pem
  http-request return status 200 content-type text/plain string {name}
"""
SERVERS = {
    "nginx": (NGINX, ("nginx", "-p", ".", "-c")),
    "haproxy": (HAPROXY, ("haproxy", "-f")),
}

pytestmark = pytest.mark.timeout(240)


def program(name: str) -> str | None:
    """Where it is; Debian keeps daemons where users do not look."""
    return shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@contextmanager
def stock(kind: str, name: str, folder: Path) -> Iterator[int]:
    """A server as it is installed; its port."""
    text, (command, *options) = SERVERS[kind]
    port, path = free_port(), folder / f"{name}.conf"
    path.write_text(text.format(name=name, port=port))
    with process(str(program(command)), *options, str(path), cwd=folder):
        eventually(lambda: listens(port))
        yield port


@pytest.mark.parametrize("kind", SERVERS)
def test_clients_of_stock_servers_come_back_to_them_in_both_versions(
    kind: str, tmp_path: Path
) -> None:
    if program(kind) is None:
        pytest.skip(f"{kind} is not installed")
    made = demo_certificates(tmp_path)
    (tmp_path / "both.pem").write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    with ExitStack() as stack:
        servers = ""
        for name in ("a", "b", "c"):
            port = stack.enter_context(stock(kind, name, tmp_path))
            servers += f'[[server]]\nname="{name}"\naddress="tcp:127.0.0.1:{port}"\n'
            servers += 'managed=false\ntls_name="localhost"\nca="ca.pem"\n'
        listen = free_port()
        arguments = config_of(tmp_path, servers, f"tcp:{listen}:interface=127.0.0.1")
        log = tmp_path / "balancer.log"
        stack.enter_context(process(*COMMAND, "balancer", *arguments, cwd=tmp_path, out=log))
        eventually(lambda: all_up(log.read_text()))
        for version in ("1.2", "1.3"):
            clients = [
                Client(f"127.0.0.1:{listen}", version, tmp_path / f"{version}-{n}")
                for n in range(6)
            ]
            assert not any(client.visit().resumed for client in clients)
            again = [client.visit().resumed for client in clients for _ in range(3)]
            assert again == [True] * 18
        assert not re.search(", (certificate|TLS 1)", log.read_text()), log.read_text()


def all_up(said: str) -> bool:
    """Whether all servers are up: each has been probed then, as its name is asked for."""
    opened = re.search(r" of 3 servers are up(?:, not ([abc, ]+))?;", said)
    missing = opened[1].split(", ") if opened and opened[1] else []
    return opened is not None and all(f"{name} is up" in said for name in missing)
