"""Servers that share sessions: one dies, the other resumes what it began."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, listens, local_servers, process
from tests.reactor import eventually
from tests.whole.clients import Seen, context, visit

_CLIENTS = 10


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store, with a real server behind it where it takes one."""
    if request.param == "sqlite":
        yield "sqlite:sessions.sqlite"
        return
    pytest.importorskip("redis", reason="the package redis is missing: pip install redis")
    if not shutil.which("redis-server"):
        pytest.skip("the command redis-server is missing: install Redis")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with process(*command, cwd=tmp_path):
        eventually(lambda: listens(port))
        yield f"redis://127.0.0.1:{port}/0"


class TwoServers:
    """A group of two, and a balancer, as processes that nobody starts again."""

    def __init__(self, folder: Path, more: str, stack: ExitStack) -> None:
        self.port = free_port()
        self.ca = demo_certificates(folder).ca
        servers = local_servers("s1", "s2", more='group="pair"')
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        arguments = config_of(folder, servers, listen, more)
        self.servers = {
            name: stack.enter_context(
                process(*COMMAND, "server", *arguments, "--name", name, cwd=folder)
            )
            for name in ("s1", "s2")
        }
        eventually(lambda: all((folder / f"{name}.sock").exists() for name in self.servers))
        stack.enter_context(process(*COMMAND, "balancer", *arguments, cwd=folder))
        eventually(lambda: listens(self.port))
        eventually(lambda: self._drawing() == {"s1", "s2"})

    def _drawing(self) -> set[str]:
        """Those of the servers that give out identifiers of their own."""
        seen = [self.visit(context(self.ca, "TLSv1.3")).answer for _ in range(4)]
        return {answer["server"] for answer in seen if answer["issued"]}

    def visit(self, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Seen:
        """A visit to the farm."""
        return visit(f"127.0.0.1:{self.port}", client, session)


_KINDS = {
    "both": [
        ("TLSv1.2", False, "session-id"),
        ("TLSv1.2", True, "ticket"),
        ("TLSv1.3", True, "psk"),
    ],
    "ids": [("TLSv1.3", True, "psk")],
}
"""By resumption: TLS version, whether the client takes tickets, and what it comes back with."""


@pytest.mark.parametrize("choice", ["issuer", "policy"])
@pytest.mark.parametrize("resumption", _KINDS)
def test_the_sessions_of_a_killed_server_resume_on_the_other_of_its_group(
    tmp_path: Path, store: str, choice: str, resumption: str
) -> None:
    more = f'group_choice="{choice}"\n[session_ids]\nstore="{store}"\nresumption="{resumption}"\n'
    with ExitStack() as stack:
        farm = TwoServers(tmp_path, more, stack)
        visitors = [
            (context(farm.ca, version, tickets), carrier)
            for version, tickets, carrier in _KINDS[resumption]
            for _ in range(_CLIENTS)
        ]
        first = [farm.visit(client) for client, _ in visitors]
        for kind in range(0, len(first), _CLIENTS):
            seen = first[kind : kind + _CLIENTS]
            assert {one.answer["server"] for one in seen} == {"s1", "s2"}
        if choice == "issuer":
            for (client, _), one in zip(visitors[::5], first[::5], strict=True):
                again = farm.visit(client, one.session)
                assert again.answer["server"] == one.answer["server"]
        farm.servers["s1"].kill()
        farm.servers["s1"].wait()
        for (client, carrier), one in zip(visitors, first, strict=True):
            back = farm.visit(client, one.session)
            assert (back.reused, back.answer["server"]) == (True, "s2")
            assert back.answer["carrier"] == carrier


def test_a_dead_store_costs_full_handshakes_and_nothing_else(tmp_path: Path) -> None:
    more = f'[session_ids]\nstore="redis://127.0.0.1:{free_port()}/0"\nresumption="ids"\n'
    pytest.importorskip("redis", reason="the package redis is missing: pip install redis")
    with ExitStack() as stack:
        farm = TwoServers(tmp_path, more, stack)
        client = context(farm.ca, "TLSv1.3")
        first = farm.visit(client)
        assert farm.visit(client, first.session).reused
        dead = farm.servers[first.answer["server"]]
        dead.kill()
        dead.wait()
        assert not farm.visit(client, first.session).reused
