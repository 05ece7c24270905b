"""A server that is a group of its own keeps its sessions over a restart, even by kill -9."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from subprocess import Popen

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, listens, process
from tests.reactor import eventually
from tests.whole.clients import context, visit

_VISITORS = 5


@pytest.mark.parametrize("registry", ["sqlite:registry.sqlite", "none"])
@pytest.mark.parametrize("resumption", ["both", "ids"])
def test_the_sessions_of_a_group_of_one_outlive_a_restart(
    resumption: str, registry: str, tmp_path: Path
) -> None:
    port = free_port()
    here = f"127.0.0.1:{port}"
    server = f'[[server]]\nname="s1"\naddress="tcp:{here}"\ngroup="alone"\n'
    more = f'[session_ids]\nresumption="{resumption}"\n'
    arguments = config_of(tmp_path, server, more=more, registry=registry)
    command = [*COMMAND, "server", *arguments]

    def start() -> AbstractContextManager[Popen[bytes]]:
        return process(*command, "--name", "s1", cwd=tmp_path)

    ca = demo_certificates(tmp_path).ca
    kinds = [("TLSv1.3", True), ("TLSv1.2", True), ("TLSv1.2", False)]
    clients = [context(ca, *kind) for kind in kinds for _ in range(_VISITORS)]
    with ExitStack() as stack:
        if registry != "none":  # a balancer manages it
            stack.enter_context(process(*COMMAND, "balancer", *arguments, cwd=tmp_path))
        first = stack.enter_context(start())
        eventually(lambda: listens(port))
        eventually(lambda: visit(here, clients[0]).answer["issued"])
        seen = [visit(here, client) for client in clients]
        first.kill()
        first.wait()
        for _ in range(2):
            again = stack.enter_context(start())
            eventually(lambda: listens(port))
            seen = [
                visit(here, client, one.session) for client, one in zip(clients, seen, strict=True)
            ]
            assert [one.reused for one in seen] == [True] * len(clients)
            again.kill()
            again.wait()
