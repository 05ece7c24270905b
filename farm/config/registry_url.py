"""Where the farm's state is agreed on, as farm.toml and --registry say it.  Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from homing.shared.addresses import ip_address

NONE = "none"
SQLITE = "sqlite:"
ETCD = "etcd:"

_ALLOWED = (
    'allowed: "sqlite:PATH"; "etcd:https://HOST:PORT", more endpoints behind commas; or "none", by '
    "hand"
)


def registry_url(value: str) -> str:
    """Check a registry's URL.  Raises ValueError, which says what is allowed."""
    if value == NONE or (value.startswith(SQLITE) and _is_path(value.removeprefix(SQLITE))):
        return value
    if not value.startswith(ETCD):
        raise ValueError(f"{value!r} is no registry; {_ALLOWED}")
    for endpoint in endpoints(value):
        _check_endpoint(endpoint)
    return value


def endpoints(url: str) -> tuple[str, ...]:
    """The endpoints of etcd in a registry's URL; none where it is another kind."""
    return tuple(url.removeprefix(ETCD).split(",")) if url.startswith(ETCD) else ()


def is_encrypted(url: str) -> bool:
    """Whether certificates are needed to speak with the registry."""
    return any(one.startswith("https:") for one in endpoints(url))


def _is_path(path: str) -> bool:
    return path.rpartition("/")[2] not in ("", ".", "..") and "\0" not in path


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        good = _is_endpoint(parts)
    except ValueError:  # a port that is no number, a bracket that is not closed
        good = False
    if not good:
        # What it has wrong may be a password in it
        raise ValueError(f"an endpoint of etcd is https://HOST:PORT and nothing else; {_ALLOWED}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError(
            f"{endpoint!r}: http: is for loopback addresses alone, since it shows everything to "
            "whoever listens on the way; use https:"
        )


def _is_endpoint(parts: SplitResult) -> bool:
    plain = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.path in ("", "/")
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname and parts.port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
