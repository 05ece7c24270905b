"""What a server runs above TLS: the demo, the user's own, or a plain upstream."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from twisted.internet.interfaces import IProtocolFactory
from twisted.web.server import Site

from homing.server.apps.applications import application
from homing.server.service import TCPAddress
from homing.shared.errors import HomingError
from homing.shared.proxy_protocol import header, local_header
from tests.logs import log
from tests.reactor import HOST, WITHIN, call, eventually
from tests.server.running import free_port, serving, tls_port
from tests.tls import client_context, end_of, read_exactly, reset, shake_hands

V4 = header(("192.0.2.7", 5000), ("192.0.2.1", 443))


def test_without_a_name_it_is_the_demo() -> None:
    assert isinstance(application(None, "s1"), Site)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the command was called in, with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    return tmp_path


APP = """
from twisted.internet.protocol import Factory
factory = Factory()
class Mine(Factory): pass
def make(): return factory
def fails(): raise RuntimeError("no database")
def needs(argument): return factory
number = 5
def makes_number(): return 5
"""


@pytest.mark.parametrize("name", ["factory", "Mine", "make"])
def test_a_factory_a_class_and_a_function_will_do(here: Path, name: str) -> None:
    (here / f"app_{name.lower()}.py").write_text(APP)
    assert IProtocolFactory.providedBy(application(f"app_{name.lower()}:{name}", "s1"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "expected module:factory, tcp:HOST:PORT or tcp+proxy"),
        ("app", "expected module:factory, tcp:HOST:PORT or tcp+proxy"),
        ("app:", "expected module:factory, tcp:HOST:PORT or tcp+proxy"),
        (":make", "expected module:factory, tcp:HOST:PORT or tcp+proxy"),
        ("no_such_module_here:x", "No module named 'no_such_module_here'"),
        ("..relative:x", ""),
        ("wrongapp:nothing", "has no attribute 'nothing'"),
        ("wrongapp:fails", "RuntimeError: no database"),
        ("wrongapp:needs", "TypeError"),
        ("wrongapp:number", "TypeError"),
        ("wrongapp:makes_number", "5 is not a Twisted protocol factory"),
        ("tcp:", "with a port from 1 to 65535"),
        ("tcp:host", "with a port from 1 to 65535"),
        ("tcp::80", "with a port from 1 to 65535"),
        ("tcp:host:0", "with a port from 1 to 65535"),
        ("tcp:host:65536", "with a port from 1 to 65535"),
        ("tcp+proxy:host:0", "expected tcp+proxy:HOST:PORT, with a port from 1 to 65535"),
        ("tcp+proxy:80", "expected tcp+proxy:HOST:PORT, with a port from 1 to 65535"),
        ("tcp:host:http", "with a port from 1 to 65535"),
        ("tcp:host:\u00b2", "with a port from 1 to 65535"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_reason(here: Path, name: str, said: str) -> None:
    (here / "wrongapp.py").write_text(APP)
    with pytest.raises(HomingError) as refused:
        application(name, "s1")
    assert repr(name) in str(refused.value)
    assert said in str(refused.value)


class Upstream:
    """A plain server: what one connection sends it, and what it answers."""

    def __init__(self, answer: bytes, close: bool) -> None:
        self._answer, self._close = answer, close
        self._port = socket.create_server((HOST, 0))
        self.number = self._port.getsockname()[1]
        self.got: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            connection, _ = self._port.accept()
        except OSError:
            return
        with connection:
            self.got.append(connection.recv(65536))
            connection.sendall(self._answer)
            while not self._close and (more := connection.recv(65536)):
                self.got.append(more)

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._port.shutdown(socket.SHUT_RDWR)
        self._port.close()


@pytest.fixture
def answer() -> bytes:
    return json.dumps({"answer": list(range(20_000))}).encode()


def connect(port: int) -> ssl.SSLSocket:
    """A TLS client of the server at this port."""
    connection = socket.create_connection(("127.0.0.1", port), WITHIN)
    return client_context(ssl.TLSVersion.TLSv1_3).wrap_socket(
        connection,
        server_hostname="localhost",
        suppress_ragged_eofs=False,  # an end without close_notify is an error
    )


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_plain_upstream_gets_the_decrypted_bytes_and_the_client_all_of_its_answer(
    answer: bytes, hangs_up: bool
) -> None:
    with (
        Upstream(answer, hangs_up) as upstream,
        tls_port(application(f"tcp:{HOST}:{upstream.number}", "s1")) as (_, port),
        connect(port) as tls,
    ):
        begun = time.monotonic()
        tls.sendall(b"question")
        assert read_exactly(tls, len(answer)) == answer
        assert upstream.got == [b"question"]
        if hangs_up:
            assert tls.recv(1) == b"", "a clean end"
            assert time.monotonic() - begun < 5


@pytest.mark.parametrize("begun", [b"", b"half an ans"], ids=["at once", "in mid-answer"])
def test_when_the_upstream_breaks_off_the_client_can_tell_and_the_log_has_one_line(
    begun: bytes,
) -> None:
    with socket.create_server((HOST, 0)) as upstream, log("homing.server.apps.upstream") as said:
        name = f"tcp:{HOST}:{upstream.getsockname()[1]}"
        with tls_port(application(name, "s1")) as (factory, port):
            for _ in range(3):
                with connect(port) as tls:
                    tls.sendall(b"question")
                    connection, _ = upstream.accept()
                    assert read_exactly(connection, 8) == b"question"
                    connection.sendall(begun)
                    assert read_exactly(tls, len(begun)) == begun
                    reset(connection)
                    with pytest.raises(OSError, match=r"reset|EOF"):
                        tls.recv(1)
            eventually(lambda: call(lambda: len(factory.connections)) == 0)
    (line,) = said
    assert line.startswith(f"the upstream {name} broke off: Connection to the other side was lost")
    assert line.endswith("; connections aborted: 1")


def test_an_upstream_that_has_said_everything_still_gets_the_rest_of_an_upload() -> None:
    upload = bytes(range(256)) * 2000
    with socket.create_server((HOST, 0)) as upstream:
        name = f"tcp:{HOST}:{upstream.getsockname()[1]}"
        with tls_port(application(name, "s1")) as (factory, port), connect(port) as tls:
            tls.sendall(upload[:1000])
            connection, _ = upstream.accept()
            with connection:
                connection.settimeout(WITHIN)
                assert read_exactly(connection, 1000) == upload[:1000]
                connection.shutdown(socket.SHUT_WR)
                assert tls.recv(1) == b""
                with ThreadPoolExecutor(1) as pool:
                    rest = pool.submit(read_exactly, connection, len(upload) - 1000)
                    tls.sendall(upload[1000:])
                    assert rest.result(WITHIN) == upload[1000:]
                tls.unwrap()
                assert connection.recv(1) == b""
            eventually(lambda: call(lambda: len(factory.connections)) == 0)


def down() -> str:
    """An upstream that is not there."""
    with socket.create_server((HOST, 0)) as closed:
        return f"tcp:{HOST}:{closed.getsockname()[1]}"


def test_clients_of_an_upstream_that_is_down_get_a_clean_end_and_the_log_one_line() -> None:
    name = down()
    with (
        tls_port(application(name, "s1")) as (factory, port),
        log("homing.server.apps.upstream") as said,
    ):
        for words in (b"", b"question", b"question"):
            with connect(port) as tls:
                begun = time.monotonic()
                tls.sendall(words)
                assert tls.recv(1) == b""  # by close_notify: an end without is an error here
                tls.unwrap()
                assert time.monotonic() - begun < 5
        eventually(lambda: call(lambda: len(factory.connections)) == 0)
    (line,) = said
    assert line.startswith(f"the upstream {name} cannot be reached: Connection was refused")
    assert line.endswith("Connection refused; connections closed: 1")


def test_an_upstream_whose_name_is_unknown_is_said_too() -> None:
    with tls_port(application("tcp:no-such-host.invalid:80", "s1")) as (_, port):
        with log("homing.server.apps.upstream") as said, connect(port) as tls:
            assert tls.recv(1) == b""
    assert "no-such-host.invalid:80 cannot be reached" in said[0]


def test_who_never_finishes_a_handshake_costs_the_upstream_nothing() -> None:
    with socket.create_server((HOST, 0)) as upstream:
        name = f"tcp:{HOST}:{upstream.getsockname()[1]}"
        with tls_port(application(name, "s1"), handshake_timeout=0.3) as (_, port):
            assert end_of(("127.0.0.1", port)) == b""
        upstream.setblocking(False)
        with pytest.raises(BlockingIOError):
            upstream.accept()


@pytest.mark.parametrize("begins", [None, V4, local_header()], ids=["itself", "proxied", "local"])
def test_an_upstream_can_be_told_who_the_client_is(begins: bytes | None) -> None:
    proxied = begins is not None
    with socket.create_server((HOST, 0)) as upstream:
        app = application(f"tcp+proxy:{HOST}:{upstream.getsockname()[1]}", "s1")
        address = HOST, free_port()
        with serving(TCPAddress(*address, proxied), app):
            plain = socket.create_connection(address, WITHIN)
            plain.sendall(begins or b"")
            expected = (plain.getsockname(), plain.getpeername())
            if begins == V4:
                expected = (("192.0.2.7", 5000), ("192.0.2.1", 443))
            with shake_hands(plain) as tls:
                tls.sendall(b"question")
                connection, _ = upstream.accept()
                with connection:
                    connection.settimeout(WITHIN)
                    wire = header(*expected)
                    assert read_exactly(connection, len(wire) + 8) == wire + b"question"
                    connection.sendall(b"answer")
                    assert read_exactly(tls, 6) == b"answer"


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_slow_reader_holds_the_other_end_back(who: str) -> None:
    with socket.create_server((HOST, 0)) as upstream:
        with (
            tls_port(application(f"tcp:{HOST}:{upstream.getsockname()[1]}", "s1")) as (_, port),
            connect(port) as tls,
        ):
            tls.sendall(b"x")
            connection, _ = upstream.accept()
            with connection:
                connection.settimeout(WITHIN)
                assert connection.recv(1) == b"x"
                sender = connection if who == "client" else tls
                sender.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    _send(sender, 1 << 28)


def _send(sender: socket.socket, count: int) -> None:
    while count > 0:
        count -= sender.send(bytes(1 << 16))
