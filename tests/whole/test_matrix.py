"""Every scheme, with every carrier, on both data planes: the table of `homing bench hit-rate`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from homing.farm.commands.s_client import CARRIERS
from homing.farm.processes.run import COMMAND
from homing.shared.schemes import SCHEMES


@pytest.mark.timeout(400)
def test_every_client_resumes_by_every_scheme_and_carrier_on_both_planes(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    command = [*COMMAND, "bench", "hit-rate", "--matrix"]
    command += ["--clients", "2", "--rounds", "1", "--servers", "2", "--json", str(numbers)]
    subprocess.run(command, check=True, timeout=380)
    rows = json.loads(numbers.read_text())["results"]
    seen = {(row["scheme"], row["plane"], row["carrier"]): row["hit_rate"] for row in rows}
    ways = [
        (scheme, plane, carrier)
        for scheme in SCHEMES
        for plane in ("hand-off", "relay")
        for carrier in CARRIERS
    ]
    assert seen == dict.fromkeys(ways, 100.0)
