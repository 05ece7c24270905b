"""A server that takes no connections any more: its clients go elsewhere, each of them once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.processes.run import COMMAND
from tests.balancer.running import HandOffServer
from tests.processes import config_of, free_port, local_servers, process
from tests.reactor import eventually
from tests.whole.bulk import APP, ROOT, Download
from tests.whole.clients import context

MANY = 300
"""Clients: more than a link leaves unanswered."""
SIZE = 20_000


@pytest.fixture(name="deaf")
def deaf_(tmp_path: Path) -> Iterator[HandOffServer]:
    """What greets as s2 and then reads nothing."""
    with HandOffServer(tmp_path / "s2.sock") as server:
        yield server


def test_a_server_that_greets_and_reads_nothing_keeps_no_client(
    tmp_path: Path, deaf: HandOffServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    certificates = demo_certificates(tmp_path)
    port = free_port()
    arguments = config_of(
        tmp_path,
        local_servers("s1", "s2", more=f'app="{APP}"'),
        f"tcp:{port}:interface=127.0.0.1",
        registry="none",
    )
    log = tmp_path / "balancer.log"
    server_log = tmp_path / "s1.log"
    with (
        process(*COMMAND, "server", "--name", "s1", *arguments, cwd=ROOT, out=server_log),
        ThreadPoolExecutor(MANY) as pool,
        ExitStack() as stack,
    ):
        eventually(lambda: "s1 takes connections" in server_log.read_text(), within=60)
        stack.enter_context(process(*COMMAND, "balancer", *arguments, cwd=ROOT, out=log))
        deaf.greet()
        eventually(lambda: re.search("2 of 2 servers are up|s2 is up", log.read_text()))
        clients = context(certificates.ca, "TLSv1.3")
        listen = f"127.0.0.1:{port}"

        def is_served(number: int) -> bool:
            return Download.begin(listen, clients, str(number), SIZE).finish()

        assert Counter(pool.map(is_served, range(MANY))) == {True: MANY}
        eventually(lambda: "s2 has not answered" in log.read_text())
        assert deaf.take().fileno() > 0  # it had some in its queue all the time
        deaf.greet()
        assert is_served(MANY)
