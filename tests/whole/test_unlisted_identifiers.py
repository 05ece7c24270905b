"""Identifiers that no entry lists: spare, foreign, or of an incomplete table (patent, p. 6)."""

from __future__ import annotations

import ssl
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.commands.s_client import Client
from homing.farm.config.farm_toml import load
from homing.farm.plan import plan
from homing.farm.processes.local import LocalFarm, running
from tests.processes import config_of, free_port, listens, local_servers, process
from tests.reactor import eventually

NAMES = ("s1", "s2", "s3")
OURS = local_servers(*NAMES)

UNLISTED = {
    "spare": b"HOME" + b"\xff" * 28,
    "foreign": b"AWAY" + b"\0" * 28,
    "random": bytes(range(7, 39)),
}


_SESSION = "SSL SESSION PARAMETERS"


def brings(farm: LocalFarm, identifier: bytes, memory: Path) -> str:
    """The server that a client gets which comes back with `identifier`."""
    client = Client(farm.listen, "1.2", memory, ca=farm.ca, options=("-no_ticket",))
    first = client.visit()
    assert first.session is not None
    own = bytes.fromhex(first.session["issued"][0])
    saved = ssl.PEM_cert_to_DER_cert(memory.read_text().replace(_SESSION, "CERTIFICATE"))
    assert saved.count(own) == 1
    pem = ssl.DER_cert_to_PEM_cert(saved.replace(own, identifier))
    memory.write_text(pem.replace("CERTIFICATE", _SESSION))
    back = client.visit()
    assert not back.resumed, "nobody has such a session"
    assert back.server is not None
    return back.server


def test_a_default_server_gets_every_id_that_no_entry_lists_and_no_other_client(
    tmp_path: Path,
) -> None:
    arguments = config_of(tmp_path, OURS, more='default_server="s3"')
    table = plan(load(tmp_path / "farm.toml")).table
    with running(tmp_path, arguments) as farm:
        for kind, identifier in UNLISTED.items():
            assert table.find(identifier) is None
            got = [brings(farm, identifier, tmp_path / f"{kind}-{n}.session") for n in range(3)]
            assert got == ["s3"] * 3
        clients = [
            Client(farm.listen, "1.2", tmp_path / f"{n}.session", ca=farm.ca) for n in range(6)
        ]
        first = [client.visit() for client in clients]
        assert Counter(visit.server for visit in first) == dict.fromkeys(NAMES, 2)
        back = [client.visit() for client in clients]
        assert [visit.resumed for visit in back] == [True] * 6
        assert [visit.server for visit in back] == [visit.server for visit in first]


def test_without_a_default_server_the_policy_chooses_for_what_no_entry_lists(
    tmp_path: Path,
) -> None:
    with running(tmp_path, config_of(tmp_path, OURS, more='policy="random"')) as farm:
        got = {
            brings(farm, identifier, tmp_path / f"{kind}-{n}.session")
            for kind, identifier in UNLISTED.items()
            for n in range(8)
        }
        assert got == set(NAMES)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_whose_identifiers_nobody_knows_gets_its_clients_back_as_the_default(
    version: str, tmp_path: Path
) -> None:
    """Tickets too, which begin with nothing that could be listed or learned."""
    certificates = demo_certificates(tmp_path)
    port = free_port()
    theirs = f'[[server]]\nname="theirs"\naddress="tcp:127.0.0.1:{port}"\nmanaged=false\n'
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www"]
    command += ["-cert", str(certificates.certificate), "-key", str(certificates.key)]
    with ExitStack() as stack:
        stack.enter_context(process(*command, cwd=tmp_path))
        eventually(lambda: listens(port))
        arguments = config_of(tmp_path, OURS + theirs, more='default_server="theirs"')
        farm = stack.enter_context(running(tmp_path, arguments))
        clients = [
            Client(farm.listen, version, tmp_path / f"{n}.session", ca=farm.ca) for n in range(8)
        ]
        first = [client.visit().server for client in clients]
        assert None in first, "no client came to the server that is not ours"
        for _ in range(3):
            back = [client.visit() for client in clients]
            assert [visit.resumed for visit in back] == [True] * 8
            assert [visit.server for visit in back] == first
