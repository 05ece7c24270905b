"""Farms of real processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from tests.processes import PLANES, config_of, demo_farm, local_servers


@pytest.fixture(scope="session", autouse=True)
def _openssl() -> None:
    if not shutil.which("openssl"):
        pytest.skip("the command openssl is missing: install OpenSSL")


@pytest.fixture(scope="module", params=PLANES)
def farm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalFarm]:
    """A demo farm of four servers, once with each data plane."""
    state = tmp_path_factory.mktemp("farm")
    with demo_farm(state, *PLANES[request.param]) as one:
        yield one


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    """Both TLS versions."""
    return str(request.param)


@pytest.fixture
def explaining_farm(tmp_path: Path) -> Iterator[LocalFarm]:
    """A farm with hand-off whose balancer logs where every connection goes and why."""
    servers = local_servers("s1", "s2", "s3", "s4")
    with running(tmp_path, config_of(tmp_path, servers, more="log_decisions=true")) as one:
        yield one
