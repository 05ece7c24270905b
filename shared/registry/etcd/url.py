"""The members of an etcd cluster, as farm.toml names them.  Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import attrs

from homing.shared.addresses import host_and_port

SCHEME = "etcd:"
PORT = 2379
"""Where etcd listens for clients unless it is told otherwise."""
MOST_MEMBERS = 16


@attrs.frozen
class Member:
    """Where one member of the cluster answers."""

    host: str
    port: int = PORT
    is_tls: bool = True

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{host_and_port(self.host, self.port)}"


def members(url: str) -> tuple[Member, ...]:
    """The members in `etcd:https://HOST:PORT,...`.  Raises ValueError, which says what is wrong."""
    if not url.startswith(SCHEME):
        raise ValueError(f"{url!r} does not begin with {SCHEME}")
    found = tuple(_member(one.strip()) for one in url.removeprefix(SCHEME).split(","))
    if len(found) > MOST_MEMBERS:
        raise ValueError(f"{len(found)} members are named: {MOST_MEMBERS} at most")
    if len(set(found)) < len(found):
        raise ValueError("a member is named twice")
    return found


def _member(text: str) -> Member:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(f"{text!r} is not https://HOST:PORT")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{text!r} has more than https://HOST:PORT")
    if not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"{text!r}: {host!r} is no host name")
    member = Member(host, PORT if port is None else port, parts.scheme == "https")
    if not member.is_tls and not _is_loopback(host):
        raise ValueError(f"{text!r}: http is allowed to loopback addresses only: use https")
    return member


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
