"""A session renegotiated in mid-connection."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from homing.farm.commands.s_client import Client
from homing.farm.processes.local import LocalFarm, running
from tests.processes import config_of, demo_farm


def test_a_session_whose_id_changes_in_mid_connection_still_comes_home(tmp_path: Path) -> None:
    servers = "".join(f'[[server]]\nname="s{i}"\naddress="unix:s{i}.sock"\n' for i in range(4))
    arguments = config_of(tmp_path, servers, more="[tls]\nrenegotiation = true")
    with running(tmp_path, arguments) as farm:
        for attempt in range(4):
            memory = tmp_path / f"{attempt}.session"
            issued = _renegotiate(farm, memory)
            assert len(issued) == 2, "the renegotiation gave out no ID of its own"
            back = Client(farm.listen, "1.2", memory, ca=farm.ca).visit()
            assert back.resumed
            assert back.session is not None
            assert back.session["identifier"][:32] == issued[1][:32]


def _renegotiate(farm: LocalFarm, memory: Path) -> list[str]:
    """Visit with s_client, press R, ask for /session, and save the session that resulted."""
    command = ["openssl", "s_client", "-connect", farm.listen, "-tls1_2", "-CAfile", str(farm.ca)]
    command += ["-servername", "localhost", "-sess_out", str(memory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        _read_until(client.stdout.fileno(), b"---\n", b"Verify return code")
        client.stdin.write(b"R\n")
        client.stdin.flush()
        _read_until(client.stdout.fileno(), b"RENEGOTIATING", b"verify return:1")
        client.stdin.write(b"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        client.stdin.flush()
        said = _read_until(client.stdout.fileno(), b'"issued": [', b"]")
    return said.partition('"issued": [')[2].partition("]")[0].replace('"', "").split(", ")


def _read_until(descriptor: int, *marks: bytes) -> str:
    said = b""
    for mark in marks:
        start = len(said)
        while mark not in said[max(0, start - 4096) :]:
            more = os.read(descriptor, 65536)
            assert more, f"s_client ended before {mark!r}: {said[-500:]!r}"
            said += more
    return said.decode(errors="replace")


def test_clients_may_not_renegotiate_unless_an_option_allows_it(tmp_path: Path) -> None:
    with demo_farm(tmp_path, "--servers", "1") as farm:
        command = ["openssl", "s_client", "-connect", farm.listen, "-tls1_2"]
        done = subprocess.run(command, input=b"R\n", capture_output=True, timeout=30, check=False)
    assert b"no renegotiation" in done.stderr
