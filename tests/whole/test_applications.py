"""What runs on the servers."""

from __future__ import annotations

import socket
import textwrap
from pathlib import Path

import pytest

from homing.shared.proxy_protocol import header
from tests.processes import demo_farm
from tests.whole.clients import connect, context


def test_a_twisted_application_of_the_users_own_runs_behind_the_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_app.py").write_text(
        textwrap.dedent("""
            from twisted.internet.protocol import Factory, Protocol
            class Shout(Protocol):
                def dataReceived(self, data):
                    self.transport.write(data.upper())
            def factory():
                return Factory.forProtocol(Shout)
        """)
    )
    monkeypatch.chdir(tmp_path)
    with demo_farm(tmp_path / "state", "--app", "their_app:factory") as farm:
        with connect(farm.listen, context(farm.ca, "TLSv1.3")) as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"HELLO"


def test_a_plain_upstream_gets_the_decrypted_bytes_and_the_clients_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        port = upstream.getsockname()[1]
        with demo_farm(tmp_path, "--servers", "1", "--app", f"tcp+proxy:127.0.0.1:{port}") as farm:
            with connect(farm.listen, context(farm.ca, "TLSv1.2")) as connection:
                connection.sendall(b"plain?")
                behind, _ = upstream.accept()
                with behind:
                    told = header(connection.getsockname(), connection.getpeername())
                    words = behind.recv(len(told) + 6, socket.MSG_WAITALL)
                    assert words == told + b"plain?"
                    behind.sendall(b"plain.")
                    assert connection.recv(100) == b"plain."
