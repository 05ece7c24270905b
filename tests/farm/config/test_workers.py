"""How many processes a balancer has where farm.toml does not say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.farm.config.farm_toml import load
from homing.farm.config.sections import MOST_WORKERS

OURS = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
LEARNED = '[[server]]\nname = "s2"\naddress = "tcp:10.0.0.6:8443"\nmanaged = false\n'
LISTED = f'{LEARNED}ids = {{ prefix = "53525641" }}\n'


@pytest.mark.parametrize(
    ("text", "cores", "workers"),
    [
        (OURS, 8, 8),
        (OURS + LISTED, 8, 8),
        (OURS + LEARNED, 8, 1),
        (f"[balancer]\nworkers = 3\n{OURS}", 8, 3),
        (f"[balancer]\nworkers = 1\n{OURS}{LEARNED}", 8, 1),
        (OURS, 1000, MOST_WORKERS),
    ],
)
def test_one_for_each_core_unless_what_one_learns_would_be_missing_in_the_others(
    tmp_path: Path, text: str, cores: int, workers: int
) -> None:
    path = tmp_path / "farm.toml"
    path.write_text(text)
    assert load(path).workers(cores) == workers
