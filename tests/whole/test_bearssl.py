"""BearSSL, strictest about certificates of all clients, and by session IDs only."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from homing.shared.addresses import split_host_and_port
from tests.processes import demo_farm

SOURCE = Path(__file__).with_name("bearssl_client.c")


@pytest.fixture(name="client")
def client_(tmp_path: Path) -> Path:
    """The client, built here: Debian has BearSSL as a library only."""
    if not shutil.which("cc") or not Path("/usr/include/bearssl.h").exists():
        pytest.skip("BearSSL cannot be built with: install gcc, libc6-dev and libbearssl-dev")
    built = tmp_path / "client"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-o", built, SOURCE, "-lbearssl"], check=True
    )
    return built


def test_bearssl_takes_the_demo_certificate_and_resumes(client: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with demo_farm(state, "--servers", "2") as farm:
        ca = load_pem_x509_certificate(farm.ca.read_bytes())
        trusted = tmp_path / "ca.der"
        trusted.write_bytes(ca.public_bytes(Encoding.DER))
        _, port = split_host_and_port(farm.listen)
        ran = subprocess.run(
            [client, str(port), trusted, "4"], capture_output=True, text=True, timeout=60
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    answers = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [(one["protocol"], one["resumed"]) for one in answers] == [
        ("TLSv1.2", number > 0) for number in range(4)
    ]
    assert len({one["server"] for one in answers}) == 1
