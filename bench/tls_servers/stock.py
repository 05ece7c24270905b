"""nginx and HAProxy, configured as one would for this work."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.measuring.versions import program
from bench.tls_servers.answer import BODY
from bench.tls_servers.running import Certificate, Running, wait_for_port
from tests.processes import free_port, process

_NGINX = """
{user}
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_timeout 0;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:TLS:20m;
        ssl_session_timeout 2h;
        location / {{ return 200 "{body}"; }}
    }}
}}
"""

_HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend in
    bind 127.0.0.1:{port} backlog 4096
    {wait}
    default_backend farm
backend farm
    balance roundrobin
    {stick}
    {servers}
"""
_WAIT = """tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }"""
_STICK = """stick-table type binary len 32 size 1m expire 2h
    acl hello req.ssl_hello_type 1
    acl server_hello res.ssl_hello_type 2
    tcp-response inspect-delay 5s
    tcp-response content accept if server_hello
    stick on req.payload_lv(43,1) if hello
    stick store-response res.payload_lv(43,1) if server_hello"""
"""HAProxy's recipe for session IDs."""


@contextmanager
def nginx(folder: Path, certificate: Certificate) -> Iterator[Running]:
    """One nginx with one worker; its session cache and ticket keys are its own."""
    folder.mkdir()
    port, config, log = free_port(), folder / "nginx.conf", folder / "log"
    root = getpass.getuser() == "root"
    words = _NGINX.format(
        user="user root;" if root else "",  # else its worker is nobody, who may not read our folder
        port=port,
        certificate=certificate.chain,
        key=certificate.key,
        body=BODY.decode().replace("\n", "\\n"),
    )
    config.write_text(words)
    command = (program("nginx"), "-p", str(folder), "-c", str(config), "-e", "stderr")
    with process(*command, cwd=folder, out=log) as running:
        wait_for_port(port, running, log)
        yield Running(port, (running.pid,))


@contextmanager
def behind_haproxy(
    folder: Path, certificate: Certificate, *, stick: bool, count: int = 4
) -> Iterator[Running]:
    """A farm of nginx behind HAProxy, which sends clients round, or by its table of session IDs."""
    folder.mkdir()
    with ExitStack() as stack:
        servers = [
            stack.enter_context(nginx(folder / f"nginx-{n}", certificate)) for n in range(count)
        ]
        port, config, log = free_port(), folder / "haproxy.cfg", folder / "log"
        config.write_text(
            _HAPROXY.format(
                port=port,
                wait=_WAIT if stick else "",
                stick=_STICK if stick else "",
                servers=_server_lines([one.port for one in servers]),
            )
        )
        command = (program("haproxy"), "-db", "-f", str(config))
        balancer = stack.enter_context(process(*command, cwd=folder, out=log))
        wait_for_port(port, balancer, log)
        yield Running(port, (balancer.pid, *(pid for one in servers for pid in one.pids)))


def _server_lines(ports: Sequence[int]) -> str:
    return "\n    ".join(f"server s{port} 127.0.0.1:{port}" for port in ports)
