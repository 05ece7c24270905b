"""Session stores by their URLs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from homing.server.groups.store.base import Backend, SessionStore
from homing.server.groups.store.sqlite_backend import SqliteBackend
from homing.server.groups.store.threaded import DEADLINE, LIMIT, ThreadedStore
from homing.server.reactor import ServerReactor
from homing.shared.errors import HomingError

_SQLITE = "sqlite:"

_ALLOWED = (
    "a session store is sqlite:/ABSOLUTE/PATH, redis://[USER:PASSWORD@]HOST[:PORT][/DB], the same "
    "with rediss:// for TLS, or unix:///PATH/OF/SOCKET[?db=DB]"
)

_OPTIONS = {
    "redis": set[str](),
    "rediss": {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"},
    "unix": {"db"},
}
"""The query parameters that a URL may have; we set all others."""


def open_store(
    url: str, reactor: ServerReactor, *, deadline: float = DEADLINE, limit: int = LIMIT
) -> SessionStore:
    """The store at `url`, with at most `limit` operations at once of at most `deadline` seconds.

    Nothing is opened before the reactor runs.  Raises HomingError when the URL is not that of a
    store, or needs the redis package, which is not installed.
    """
    return ThreadedStore(_backend(url, deadline), reactor, deadline=deadline, limit=limit)


def check(url: str) -> None:
    """Raises HomingError when the URL is not that of a store."""
    try:
        good = _is_sqlite(url) or _is_redis(urlsplit(url))
    except ValueError:  # a port that is no number, a bracket that is not closed
        good = False
    if not good:
        raise HomingError(
            f"{_without_secrets(url)!r} is not the URL of a session store: {_ALLOWED}"
        )


def resolved(url: str, folder: Path) -> str:
    """The same URL; an SQLite file's relative path becomes absolute, from `folder`."""
    path = url.removeprefix(_SQLITE)
    if path in (url, ""):
        return url
    return f"{_SQLITE}{folder.absolute() / path}"


def _backend(url: str, deadline: float) -> Backend:
    check(url)
    if url.startswith(_SQLITE):
        return SqliteBackend(Path(url.removeprefix(_SQLITE)))
    try:
        from homing.server.groups.store.redis_backend import RedisBackend
    except ModuleNotFoundError as error:
        raise HomingError(
            "a session store in Redis needs the redis package: pip install 'homing[redis]'"
        ) from error
    return RedisBackend(url, deadline)


def _is_sqlite(url: str) -> bool:
    path = Path(url.removeprefix(_SQLITE))
    return url.startswith(_SQLITE) and path.is_absolute() and path.name != "" and "\0" not in url


def _is_redis(parts: SplitResult) -> bool:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in _OPTIONS or options.keys() - _OPTIONS[parts.scheme] or parts.fragment:
        return False
    if parts.scheme == "unix":
        return len(parts.path) > 1 and not parts.hostname and _is_number(options.get("db", "0"))
    return (
        bool(parts.hostname)
        and parts.port != 0
        and (parts.path in ("", "/") or _is_number(parts.path[1:]))
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _without_secrets(url: str) -> str:
    """As much of a URL as can be shown, however wrong it is."""
    before, at, address = url.rpartition("@")
    address = address.partition("?")[0]
    return f"{before.partition(':')[0]}://...@{address}" if at else address
