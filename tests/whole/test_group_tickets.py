"""Any server of a group opens a ticket as soon as its client has it."""

from __future__ import annotations

import time
from pathlib import Path

from homing.farm.processes.local import running
from tests.processes import config_of, local_servers
from tests.whole.clients import context, visit

_SERVERS = local_servers("s1", "s2", "s3", "s4", more='group="all"')
_LIFETIME = 2


def test_nobody_misses_right_after_the_start_or_when_the_secret_changes(tmp_path: Path) -> None:
    more = (
        'group_choice="policy"\npolicy="round-robin"\n'
        f"[session_ids]\nticket_secret_lifetime={_LIFETIME}\nlifetime=60\n"
    )
    with running(tmp_path, config_of(tmp_path, _SERVERS, more=more)) as farm:
        end = time.monotonic() + 3 * _LIFETIME
        reused, servers = list[bool](), set[str]()
        clients = [context(farm.ca, version) for version in ("TLSv1.3", "TLSv1.2")]
        while time.monotonic() < end:
            for client in clients:
                first = visit(farm.listen, client)
                again = visit(farm.listen, client, first.session)
                reused.append(again.reused)
                servers |= {first.answer["server"], again.answer["server"]}
        assert servers == {"s1", "s2", "s3", "s4"}
        said = farm.log.read_text()
        store_failed = "is dead" in said or "is too slow" in said  # on a machine with no time left
        assert store_failed or not reused.count(False), f"of {len(reused)} returns"
