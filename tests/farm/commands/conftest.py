"""What tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.farm.commands import main
from tests.farm.commands.ran_here import Here
from tests.processes import Ran


@pytest.fixture(name="here")
def here_(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Here:
    """Runs the command inside this process: for the many ways to call it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> Ran:
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        return Ran(status, *capsys.readouterr())

    return run
