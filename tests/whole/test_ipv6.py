"""Clients with IPv6."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.farm.processes.local import running
from tests.whole.clients import context, visit


@pytest.mark.parametrize("plane", [[], ["--relay"]], ids=["hand-off", "relay"])
def test_ipv6_clients_resume_and_keep_their_address(tmp_path: Path, plane: list[str]) -> None:
    listen = "tcp6:0:interface=\\:\\:1"
    with running(tmp_path, ["--listen", listen, "--state-dir", str(tmp_path), *plane]) as farm:
        clients = context(farm.ca, "TLSv1.3")
        first = visit(farm.listen, clients)
        assert visit(farm.listen, clients, first.session).reused
        assert first.answer["client"].startswith("[::1]:")
