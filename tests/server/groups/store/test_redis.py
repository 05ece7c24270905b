"""Sessions in a real Redis, which dies, hangs and returns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.reactor import HOST, eventually
from tests.server.groups.store.redis_process import RedisProcess, needs_redis
from tests.server.groups.store.running import HOUR, NAME, VALUE, logged, opened
from tests.server.running import free_port

pytestmark = needs_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path) as process:
        yield process


def command(process: RedisProcess, *words: bytes | str | int) -> object:
    """What Redis answers to a command of another client."""
    import redis

    with redis.Redis(unix_socket_path=str(process.unix)) as client:
        return client.execute_command(*words)


def test_what_is_put_is_got_by_all(redis: RedisProcess) -> None:
    with opened(redis.url) as one, opened(f"unix://{redis.unix}?db=0") as other:
        assert one.get() is None
        one.put()
        assert other.get() == VALUE
        other.put(value=b"")
        assert one.get() == b""
        one.put(bytes(range(256)), bytes(range(256)) * 256)
        assert other.get(bytes(range(256))) == bytes(range(256)) * 256


def test_databases_are_apart(redis: RedisProcess) -> None:
    with opened(redis.url) as one, opened(f"unix://{redis.unix}?db=1") as other:
        one.put()
        assert other.get() is None


def test_keys_have_a_prefix_and_expire(redis: RedisProcess) -> None:
    with opened(redis.url) as store:
        store.put()
        left = command(redis, "PTTL", b"homing:session:" + NAME)
        assert isinstance(left, int)
        assert (HOUR - 60) * 1000 < left <= HOUR * 1000
        store.put(b"soon", lifetime=0.2)
        store.put(b"at once", lifetime=0.000_001)
        store.put(b"never", lifetime=float("inf"))
        assert store.get(b"soon") == VALUE
        time.sleep(0.25)
        assert store.get(b"soon") is None
        assert store.get(b"at once") is None
        assert store.get(b"never") == VALUE


def test_something_else_under_a_name_is_a_miss_and_is_replaced(redis: RedisProcess) -> None:
    with logged() as lines, opened(redis.url) as store:
        command(redis, "RPUSH", b"homing:session:" + NAME, "x")
        assert store.get() is None
        store.put()
        assert store.get() == VALUE
    assert lines == []


def test_killed_and_back_again(redis: RedisProcess) -> None:
    with logged() as lines, opened(redis.url) as store:
        store.put()
        redis.kill()
        assert store.get() is None
        before = time.monotonic()
        for _ in range(100):
            store.put()
            assert store.get() is None
        assert time.monotonic() - before < 10
        eventually(lambda: lines, "it is said")
        redis.start()
        eventually(store.works, "it is back")
        time.sleep(0.3)
        assert store.works()
    assert len(lines) == 2, lines
    assert "is dead: " in lines[0]
    assert any(word in lines[0] for word in ("refused", "closed", "reset"))
    assert lines[1] == f"<session store {redis.url.partition('?')[0]}> is back"


def test_restarted_while_nobody_asked(redis: RedisProcess) -> None:
    with opened(redis.url) as store:
        assert store.works()
        redis.kill()
        redis.start()
        eventually(store.works)


def test_a_deadline_holds_when_redis_hangs(redis: RedisProcess) -> None:
    with logged() as lines, opened(redis.url, deadline=0.25) as store:
        assert store.works()
        redis.stop()
        before = time.monotonic()
        assert store.gets(NAME, 500) == [None] * 500
        assert 0.1 < time.monotonic() - before < 5
        before = time.monotonic()
        for _ in range(50):
            store.put()
            assert store.get() is None
        assert time.monotonic() - before < 5, "a dead store costs no time"
        eventually(lambda: lines, "it is said")
        redis.go_on()
        eventually(store.works, "it is back")
    # Whether it was slow before it was dead is a matter of milliseconds
    lines = [line for line in lines if "is too slow" not in line]
    assert len(lines) == 2, lines
    assert "is dead: " in lines[0]
    assert "is back" in lines[1]


def test_answers_that_come_late_go_to_nobody_else(redis: RedisProcess) -> None:
    with opened(redis.url, deadline=0.25) as store:
        for number in range(8):
            store.put(b"%d" % number, b"%d" % number)
        redis.stop()
        assert store.gets(b"1", 8) == [None] * 8
        redis.go_on()
        eventually(store.works)
        for number in range(8):
            assert store.gets(b"%d" % number, 8) == [b"%d" % number] * 8


def test_absent_from_the_start(tmp_path: Path) -> None:
    redis = RedisProcess(tmp_path)
    with logged() as lines, opened(redis.url) as store:
        eventually(lambda: lines, "it is said before anything is asked")
        assert store.get() is None
        redis.start()
        try:
            eventually(store.works, "it is back")
        finally:
            redis.kill()
    assert "Connection refused" in lines[0]


def test_a_redis_that_is_full_is_a_dead_store(redis: RedisProcess) -> None:
    command(redis, "CONFIG", "SET", "maxmemory", "1")
    with logged() as lines, opened(redis.url) as store:
        eventually(lambda: lines, "it is said")
        assert store.get() is None
        assert "maxmemory" in lines[0]
        command(redis, "CONFIG", "SET", "maxmemory", "0")
        eventually(store.works, "it is back")


def test_a_password_works_and_is_never_shown(tmp_path: Path) -> None:
    with RedisProcess(tmp_path, "--requirepass", "hush-hush") as redis:
        with logged() as lines:
            with opened(f"redis://:hush-hush@{HOST}:{redis.port}/0") as store:
                assert store.works()
                assert "hush" not in repr(store.itself)
            with opened(f"redis://:hush-hugo@{HOST}:{redis.port}/0") as store:
                eventually(lambda: lines, "it is said")
    assert len(lines) == 1
    assert "password" in lines[0]
    assert "hush" not in lines[0]


def test_an_unknown_command_shows_no_value(tmp_path: Path) -> None:
    with RedisProcess(tmp_path, "--rename-command", "GET", "") as redis:
        with logged() as lines, opened(redis.url) as store:
            store.put()
            assert store.get(b"the name") is None
    assert len(lines) == 1
    assert "unknown command" in lines[0]
    assert "the name" not in lines[0]


def test_over_tls(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    certificate = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    files = [f"--tls-{kind}-file" for kind in ("ca-cert", "cert", "key")]
    paths = [str(tmp_path / name) for name in ("ca.pem", "cert.pem", "cert.pem")]
    given = [word for pair in zip(files, paths, strict=True) for word in pair]
    with RedisProcess(tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *given):
        with opened(f"rediss://{HOST}:{port}/0?ssl_ca_certs={tmp_path}/ca.pem") as store:
            assert store.works()
        with logged() as lines, opened(f"rediss://{HOST}:{port}/0") as store:
            eventually(lambda: lines, "it does not trust that authority")
            assert store.get() is None
    assert "certificate verify failed" in lines[0].lower()
