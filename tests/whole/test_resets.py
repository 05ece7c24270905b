"""What a client says before it resets reaches its server, with its session, past the balancer."""

from __future__ import annotations

import socket
import ssl
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.processes import demo_farm
from tests.reactor import eventually
from tests.tls import reset
from tests.whole.clients import connect, context

VISITS = 30


@pytest.fixture(scope="module", name="diary")
def diary_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers write down what they hear."""
    return tmp_path_factory.mktemp("diary") / "diary"


@pytest.fixture(scope="module", name="relay")
def relay_(tmp_path_factory: pytest.TempPathFactory, diary: Path) -> Iterator[LocalFarm]:
    """A farm on relay whose servers keep a diary."""
    state = tmp_path_factory.mktemp("farm")
    diary.with_name("diarists.py").write_text(
        textwrap.dedent(f"""
            from twisted.internet.protocol import Factory
            from twisted.protocols.basic import LineOnlyReceiver
            class Diarist(LineOnlyReceiver):
                def lineReceived(self, line):
                    with open({str(diary)!r}, "ab") as diary:
                        diary.write(line + b"\\n")
                    self.sendLine(b"heard")
            def factory():
                return Factory.forProtocol(Diarist)
        """)
    )
    options = ["--relay", "--servers", "2", "--resumption", "ids", "--app", "diarists:factory"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(diary.parent)
        with demo_farm(state, *options) as farm:
            yield farm


def say(connection: ssl.SSLSocket, words: str) -> None:
    connection.sendall(words.encode() + b"\r\n")
    assert connection.recv(100) == b"heard\r\n"


def reset_after_finished(
    farm: LocalFarm, context: ssl.SSLContext, session: ssl.SSLSession | None, words: str
) -> bool:
    """Send Finished and `words` in one, and reset at once; whether the session was resumed."""
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(came, goes, server_hostname="localhost", session=session)
    with socket.create_connection(split_host_and_port(farm.listen), timeout=20) as plain:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(goes.read())
                came.write(plain.recv(65536))
        tls.write(words.encode() + b"\r\n")
        plain.sendall(goes.read())
        reset(plain)
    return bool(tls.session_reused)


def heard(diary: Path, word: str) -> int:
    return sum(line.startswith(word) for line in diary.read_text().splitlines())


def test_a_reset_right_after_finished_costs_nothing_that_was_said(
    relay: LocalFarm, diary: Path, version: str
) -> None:
    client = context(relay.ca, version)
    for number in range(VISITS):
        session = None
        if version == "TLSv1.2":  # only who resumes has the last word in its handshake
            with connect(relay.listen, client) as first:
                say(first, f"first {number}")
                session = first.session
        resumed = reset_after_finished(relay, client, session, f"{version} {number}")
        assert resumed is (session is not None)
    eventually(lambda: heard(diary, version) == VISITS)


def test_a_session_survives_the_reset_of_the_client_that_resumed_it(relay: LocalFarm) -> None:
    client = context(relay.ca, "TLSv1.2")
    with connect(relay.listen, client) as first:
        say(first, "first")
        session = first.session
    for _ in range(VISITS):
        assert reset_after_finished(relay, client, session, "again")
