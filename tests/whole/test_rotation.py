"""Keys and secrets change in mid-run, and no session is lost."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from homing.farm.processes.local import running
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, local_servers
from tests.reactor import eventually
from tests.whole.clients import context, visit

_SERVERS = local_servers("s1", "s2", "s3")


def test_a_change_of_the_farms_key_loses_no_session(tmp_path: Path) -> None:
    more = 'source_rate=0\n[session_ids]\nscheme="keyed"\n'
    with running(tmp_path, config_of(tmp_path, _SERVERS, more=more)) as farm:
        clients = [context(farm.ca, version) for version in ("TLSv1.2", "TLSv1.3") * 10]
        sessions = [visit(farm.listen, client).session for client in clients]
        key = (tmp_path / "keys" / "farm.key").read_text()
        command = [*COMMAND, "rotate-key", "--config", "farm.toml"]
        with subprocess.Popen(command, cwd=tmp_path) as rotation:
            while rotation.poll() is None:  # clients come and go all the while
                for client, session in zip(clients, sessions, strict=True):
                    assert visit(farm.listen, client, session).reused
        assert rotation.returncode == 0
        new, old = (tmp_path / "keys" / "farm.key").read_text().split()
        assert (old, new) != (new, old)
        assert key.strip() == old
        eventually(lambda: farm.log.read_text().count("has changed and is in force") == 8)
        for client, session in zip(clients, sessions, strict=True):
            assert visit(farm.listen, client, session).reused
            fresh = visit(farm.listen, client)
            assert visit(farm.listen, client, fresh.session).reused
        again = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert again.returncode == 1
        assert b"would be lost" in again.stderr


def test_a_change_of_ticket_secrets_loses_no_session(tmp_path: Path) -> None:
    more = "[session_ids]\nticket_secret_lifetime = 1\nlifetime = 30\n"
    with running(tmp_path, config_of(tmp_path, _SERVERS, more=more)) as farm:
        clients = [context(farm.ca, version) for version in ("TLSv1.2", "TLSv1.3") * 5]
        sessions = [visit(farm.listen, client).session for client in clients]
        for _ in range(3):
            time.sleep(1.1)
            for client, session in zip(clients, sessions, strict=True):
                assert visit(farm.listen, client, session).reused
