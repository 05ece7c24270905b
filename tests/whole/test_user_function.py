"""A user's function that fails in mid-run costs sessions, never a connection."""

from __future__ import annotations

import os
import ssl
from functools import partial
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from tests.processes import config_of
from tests.reactor import eventually
from tests.whole.clients import context, visit

_FUNCTION = """
import os, sys, time
def f(identifier):
    if os.path.exists({flag!r}):
        {fault}
    return {{0x48: "s1", 0x49: "s2"}}.get(identifier[0])
"""


def _both_give_sessions(farm: LocalFarm, clients: ssl.SSLContext) -> bool:
    answers = [visit(farm.listen, clients).answer for _ in range(2)]
    return {one["server"] for one in answers if one["issued"]} == {"s1", "s2"}


def _comes_home(farm: LocalFarm, clients: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
    return visit(farm.listen, clients, session).reused


@pytest.mark.parametrize("resumption", ["both", "ids"])
@pytest.mark.parametrize(
    "fault", ["raise OSError('the database is gone')", "sys.exit(0)", "time.sleep(3600)"]
)
def test_a_function_that_begins_to_fail_is_named_and_everybody_is_served(
    fault: str, resumption: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "broken"
    (tmp_path / "own.py").write_text(_FUNCTION.format(flag=str(flag), fault=fault))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    servers = "".join(f'[[server]]\nname="{n}"\naddress="unix:{n}.sock"\n' for n in ("s1", "s2"))
    more = f'[session_ids]\nscheme="function"\nfunction="own:f"\nresumption="{resumption}"'
    with running(tmp_path, config_of(tmp_path, servers, more=more)) as farm:
        for version in ("TLSv1.2", "TLSv1.3"):
            clients = context(farm.ca, version)
            before = visit(farm.listen, clients)
            # The balancer does not ask one that took too long for some seconds
            eventually(partial(_comes_home, farm, clients, before.session))

            flag.touch()
            for session in (None, None, before.session):
                served = visit(farm.listen, clients, session)
                assert served.answer["issued"] == []
            flag.unlink()
            eventually(partial(_both_give_sessions, farm, clients))
        said = farm.log.read_text()
        assert "session_ids.function own:f raised" in said
        assert "no identifier can be drawn; clients get no session to resume" in said
