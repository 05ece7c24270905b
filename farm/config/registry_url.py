"""Where the farm's state is agreed on, as farm.toml and --registry say it.  Pure."""

from __future__ import annotations

from homing.shared.registry.etcd.url import SCHEME as ETCD
from homing.shared.registry.etcd.url import members

NONE = "none"
SQLITE = "sqlite:"

_ALLOWED = (
    'allowed: "sqlite:PATH"; "etcd:https://HOST:PORT", with more members behind commas; or "none", '
    "by hand"
)


def registry_url(value: str) -> str:
    """Check a registry's URL.  Raises ValueError, which says what is allowed."""
    if value == NONE or (value.startswith(SQLITE) and _is_path(value.removeprefix(SQLITE))):
        return value
    if not value.startswith(ETCD):
        raise ValueError(f"{value!r} is no registry; {_ALLOWED}")
    if "@" in value:  # what is before it may be secret
        raise ValueError(f"etcd is spoken with by certificates, not by a password; {_ALLOWED}")
    try:
        members(value)
    except ValueError as error:
        raise ValueError(f"{error}; {_ALLOWED}") from None
    return value


def is_encrypted(url: str) -> bool:
    """Whether certificates are needed to speak with the registry."""
    return url.startswith(ETCD) and any(member.is_tls for member in members(url))


def _is_path(path: str) -> bool:
    return path.rpartition("/")[2] not in ("", ".", "..") and "\0" not in path
