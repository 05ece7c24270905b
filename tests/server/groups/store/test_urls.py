"""Which URLs name a store, and what is said about those that do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homing.server.groups.store import open_store, resolved
from homing.shared.errors import HomingError
from tests.reactor import reactor
from tests.server.groups.store.redis_process import needs_redis
from tests.server.groups.store.running import opened


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:",
        "sqlite:/",
        "sqlite:relative.db",
        "sqlite::memory:",
        "sqlite:/a\0b",
        "SQLITE",
        "/var/lib/homing.db",
        "redis:",
        "redis://",
        "redis:///0",
        "redis://host/zero",
        "redis://host/0/1",
        "redis://host/-1",
        "redis://host/1234567",
        "redis://host:0/0",
        "redis://host:99999/0",
        "redis://host:port/0",
        "redis://[::1/0",
        "redis://host/0?socket_timeout=1000",
        "redis://host/0#1",
        "rediss://host/0?ssl_cert_reqs=none",
        "unix:",
        "unix://",
        "unix:///",
        "unix://host/path",
        "unix:///path?db=x",
        "memcached://host",
        "postgresql://host/db",
    ],
)
def test_a_bad_url_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(HomingError) as caught:
        open_store(url, reactor())
    text = str(caught.value)
    assert repr(url.partition("?")[0].partition("#")[0])[:-1] in text
    assert all(kind in text for kind in ("sqlite:", "redis://", "rediss://", "unix://"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hush@host/zero",
        "redis://:hush@host:port/0",
        "redis://user:hu/hush@host/0",
        "http://user:hush@host",
        "redis://host/0?password=hush",
        "redis://:hu?hush@host:port/0",
        "redis://user:hu?hush#hush@host:port/0",
        "user:hush@host",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    with pytest.raises(HomingError) as caught:
        open_store(url, reactor())
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@needs_redis
@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://localhost/", "redis://localhost/"),
        ("redis://user:hush@[::1]:1/15", "redis://[::1]:1/15"),
        ("rediss://localhost:1/0?ssl_ca_certs=/ca.pem", "rediss://localhost:1/0"),
        ("unix:///nowhere/redis.sock?db=3", "unix:///nowhere/redis.sock"),
        ("unix://:hush@/nowhere/redis.sock", "unix:///nowhere/redis.sock"),
    ],
)
def test_good_urls_of_redis(url: str, label: str) -> None:
    with opened(url) as store:
        assert repr(store.itself) == f"<session store {label}>"


def test_relative_paths_are_resolved_by_whoever_knows_from_where(tmp_path: Path) -> None:
    assert resolved("sqlite:a/b.db", tmp_path) == f"sqlite:{tmp_path}/a/b.db"
    assert resolved("sqlite:/a/b.db", tmp_path) == "sqlite:/a/b.db"
    assert resolved("sqlite:a.db", Path()) == f"sqlite:{Path().absolute()}/a.db"
    for url in ("sqlite:", "redis://host/0", "nonsense", ""):
        assert resolved(url, tmp_path) == url


WITHOUT_REDIS = """
import sys
sys.modules["redis"] = None  # as if it were not installed
from twisted.internet import reactor
from homing.server.groups.store import open_store
from homing.shared.errors import HomingError
open_store("sqlite:/nowhere/at/all.db", reactor)
try:
    open_store("redis://localhost/0", reactor)
except HomingError as error:
    print(error)
"""


def test_without_the_redis_package_the_error_says_how_to_get_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_REDIS], capture_output=True, text=True, check=True
    )
    assert "pip install 'homing[redis]'" in said.stdout
