"""Sessions in Redis, shared by the processes of several machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from homing.server.groups.store.base import StoreFailure

PREFIX = b"homing:session:"
"""What the name of every key starts with."""

_PROBE = b"homing:probe"


class RedisBackend:
    """Blocks for at most `timeout` seconds a step; connects when it is first needed.

    `homing.server.groups.store.urls` has approved the URL.
    """

    threads = 4  # each waits for the network; redis has a connection for each

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        # redis-py 5 checks the host's name only if it is told to
        checked = {"ssl_check_hostname": True} if url.startswith("rediss:") else {}
        self._client = redis.Redis.from_url(
            url,
            **checked,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # The caller's deadline leaves no time for a second attempt
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    @property
    def label(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def get(self, name: bytes) -> bytes | None:
        with _errors():
            try:
                value = self._client.get(PREFIX + name)
            except redis.ResponseError as error:
                if str(error).startswith("WRONGTYPE"):
                    return None  # something else has this one name
                raise
        return value if isinstance(value, bytes) else None

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        with _errors():
            self._client.set(PREFIX + name, value, px=max(1, int(lifetime * 1000)))

    def probe(self) -> None:
        with _errors():  # writes: a full Redis, or a replica, can still be read
            self._client.set(_PROBE, b"", px=1000)

    def close(self) -> None:
        self._client.connection_pool.disconnect()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        # Redis repeats the arguments of a command that it does not know
        raise StoreFailure(str(error).partition(", with args")[0]) from error
    except OSError as error:
        raise StoreFailure(str(error)) from error
