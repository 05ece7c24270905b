"""The hook works with a distribution's OpenSSL too, where cryptography links dynamically."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.tls import certificates

PYTHON = Path("/usr/bin/python3")
ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "hook_on_system_python.py"
NEEDS = "import OpenSSL, attrs, twisted.logger, elftools"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The system's Python, far from the environment of the tests."""
    clean = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [PYTHON, *arguments], env=clean, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_hook_works_with_the_systems_openssl() -> None:
    if not PYTHON.exists():
        pytest.skip("there is no /usr/bin/python3")
    missing = run("-c", NEEDS)
    if missing.returncode:
        pytest.skip(
            f"{missing.stderr.splitlines()[-1]}: apt-get install python3-openssl python3-attr "
            "python3-twisted python3-pyelftools"
        )
    ran = run(SCRIPT, certificates().certificate, certificates().key)
    assert (ran.stdout, ran.stderr) == ("dynamic\n", "")
