"""A session renegotiated in mid-connection."""

from __future__ import annotations

import subprocess
from pathlib import Path

from homing.farm.commands.s_client import Client
from homing.farm.processes.local import LocalFarm, running
from tests.processes import config_of, demo_farm, local_servers
from tests.whole.clients import REQUEST
from tests.whole.conversation import conversation


def test_a_session_whose_id_changes_in_mid_connection_still_comes_home(tmp_path: Path) -> None:
    servers = local_servers("s1", "s2", "s3", "s4")
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
    command = ["sh", "-c", 'exec "$@" 2>&1', "sh", "openssl", "s_client", "-connect", farm.listen]
    command += ["-tls1_2", "-CAfile", str(farm.ca), "-sess_out", str(memory)]
    with conversation(command) as client:
        client.hear(b"---\n", b"Verify return code")
        client.say(b"R\n")
        client.hear(b"RENEGOTIATING", b"verify return:1")
        client.say(REQUEST)
        said = client.hear(b'"issued": [', b"]").decode(errors="replace")
        client.hear_out()
    return said.partition('"issued": [')[2].partition("]")[0].replace('"', "").split(", ")


def test_clients_may_not_renegotiate_unless_an_option_allows_it(tmp_path: Path) -> None:
    with demo_farm(tmp_path, "--servers", "1") as farm:
        command = ["openssl", "s_client", "-connect", farm.listen, "-tls1_2"]
        done = subprocess.run(command, input=b"R\n", capture_output=True, timeout=30, check=False)
    assert b"no renegotiation" in done.stderr
