"""`homing bench hit-rate`: its table in a terminal, and servers that answer anything at all."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from homing.certs.demo import NAMES, demo_certificates
from homing.farm.commands import main
from homing.farm.commands.hit_rate.measuring import Result, Work
from homing.farm.commands.hit_rate.showing import sheet
from homing.farm.commands.parsing import show
from homing.farm.commands.s_client import CARRIERS, CarrierOptions, Client
from homing.shared.schemes import SCHEMES


def result(
    way: tuple[str, str, str], name: str, tls: str, resumed: int, servers: tuple[str, ...]
) -> Result:
    work = Work(*way, CarrierOptions(name, tls))
    return Result(work=work, first_visits=20, connections=1000, resumed=resumed, servers=servers)


MANY = tuple(f"s{n}" for n in range(256))
MATRIX = [
    result(("homing", scheme, plane), carrier, "1.3", resumed, MANY[:4])
    for scheme in SCHEMES
    for plane, resumed in (("hand-off", 17), ("relay", 1000))
    for carrier in CARRIERS
]
MATRIX[0] = attrs.evolve(MATRIX[0], resumed=5, servers=MANY[:3])
COMPARED = [
    result((balancer, "function", "hand-off"), f"as offered, TLS {tls}", tls, 999, MANY[:seen])
    for balancer, seen in (("homing", 256), ("identifiers ignored", 255))
    for tls in ("1.2", "1.3")
]
LONG_HOST = "balancer-1.a-cluster-with-a-long-name.department.example.org:8443"
ELSEWHERE = [
    result((LONG_HOST, "-", "-"), f"as offered, TLS {tls}", tls, 9, ()) for tls in ("1.2", "1.3")
]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("results", [MATRIX, COMPARED, ELSEWHERE], ids=["matrix", "own", "there"])
def test_a_terminal_shows_every_row_on_one_line(
    width: int, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    Console(width=width).print(sheet(results))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == len(results)
    for row, one in zip(rows, results, strict=True):
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert one.work.carrier.name.removeprefix("as offered, ") in cells
        assert f"{one.hit_rate:.1f} %" in cells
        assert str(one.resumed) in cells


def test_what_is_the_same_in_all_rows_is_said_once_on_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(sheet(ELSEWHERE))
    title, top, *_ = capsys.readouterr().out.splitlines()
    same = "first visits: 20; connections: 1000; servers seen: unknown"
    assert title == f"balancer: {LONG_HOST}; {same}"
    assert top.startswith("┏")


HEADER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
ANSWERS = {
    "begins like JSON": b'{"server": oops\n',
    "no value": b'{"server"}\n',
    "a number": b'{"server": 5}\n',
    "a list": b'{"server": ["s1"]}\n',
    "no name": b'{"server": "\\u001b[2J"}\n',
    "nested without end": b'{"server": ' + b"[" * 200_000 + b"\n",
    "another object": b'{"status": "fine"}\n',
    "binary": bytes(range(256)) * 20 + b'\n{"server": \xff\xfe}\n',
    "huge": b'{"server": "' + b"x" * 5_000_000,
    "nothing": b"",
    "a lie": b"\nReused, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384\n",
}


@contextmanager
def answering(folder: Path, answer: bytes) -> Iterator[str]:
    """HOST:PORT of a real TLS server, not ours, that answers so."""
    demo_certificates(folder, NAMES)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain, suppress(OSError):
                plain.settimeout(20)
                with context.wrap_socket(plain, server_side=True) as tls:
                    tls.recv(4096)
                    tls.sendall(HEADER + answer)
                    tls.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(serve)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_any_answer_of_a_server_that_is_not_ours_is_survived(
    answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(tmp_path, answer) as address:
        numbers = ("--clients", "1", "--rounds", "1", "--tls", "1.3")
        written = ("--json", str(tmp_path / "out.json"))
        status = main(("bench", "hit-rate", "--connect", address, *numbers, *written))
    said = capsys.readouterr()
    assert status == 0, said.err
    (one,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert (one["first_visits"], one["connections"], one["servers"]) == (1, 1, [])
    assert one["resumed"] == 1
    assert "servers seen: unknown" in " ".join(said.out.split())
    assert "\x1b" not in said.out


def test_a_server_that_lies_in_its_answer_does_not_raise_the_hit_rate(tmp_path: Path) -> None:
    with answering(tmp_path, ANSWERS["a lie"]) as address:
        client = Client(address, "1.3", tmp_path / "a.session")
        assert not client.visit().resumed
        assert client.visit().resumed
