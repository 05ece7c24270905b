"""Every test here runs with the real reactor and must leave it clean."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer.running import One, Two, serving
from tests.reactor import _clean_reactor

__all__ = ["_clean_reactor"]


@pytest.fixture(name="one")
def _one(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[One]:
    """A balancer with options, its address, and a server that is up."""
    with serving(tmp_path, 1, **getattr(request, "param", {})) as (balancer, address, servers):
        yield balancer, address, servers[0]


@pytest.fixture(name="two")
def _two(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Two]:
    """The same with two servers; s1 gets the first client."""
    with serving(tmp_path, 2, **getattr(request, "param", {})) as (balancer, address, servers):
        yield balancer, address, servers[0], servers[1]
