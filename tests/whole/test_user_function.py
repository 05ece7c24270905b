"""A user's function that fails in mid-run costs sessions, never a connection."""

from __future__ import annotations

import os
import ssl
from functools import partial
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from tests.processes import config_of, local_servers
from tests.reactor import eventually
from tests.whole.clients import context, visit

_FUNCTION = """
import os
def f(identifier):
    if os.path.exists({flag!r}):
        raise OSError('the database is gone')
    return {{0x48: "s1", 0x49: "s2"}}.get(identifier[0])
"""


def _both_give_sessions(farm: LocalFarm, clients: ssl.SSLContext) -> bool:
    answers = [visit(farm.listen, clients).answer for _ in range(2)]
    return {one["server"] for one in answers if one["issued"]} == {"s1", "s2"}


@pytest.mark.parametrize("resumption", ["both", "ids"])
def test_a_function_that_begins_to_fail_is_named_and_everybody_is_served(
    resumption: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "broken"
    (tmp_path / "own.py").write_text(_FUNCTION.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    more = f'[session_ids]\nscheme="function"\nfunction="own:f"\nresumption="{resumption}"'
    with running(tmp_path, config_of(tmp_path, local_servers("s1", "s2"), more=more)) as farm:
        for version in ("TLSv1.2", "TLSv1.3"):
            clients = context(farm.ca, version)
            before = visit(farm.listen, clients)
            assert visit(farm.listen, clients, before.session).reused

            flag.touch()
            for session in (None, None, before.session):
                served = visit(farm.listen, clients, session)
                assert served.answer["issued"] == []
            flag.unlink()
            eventually(partial(_both_give_sessions, farm, clients))
        said = farm.log.read_text()
        assert "session_ids.function own:f raised" in said
        assert "no identifier can be drawn; clients get no session to resume" in said
