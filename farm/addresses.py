"""Where things listen: which addresses of a farm.toml are the same, however they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from shared.addresses import ip_address, plain

_LABEL = re.compile(r"[^\W_]([\w-]{0,61}\w)?\Z|_[\w-]{0,62}\Z")
_NUMBERS = re.compile(r"[0-9.]+\Z")
_LONGEST_NAME = 253


@attrs.frozen
class Place:
    """A TCP port at a host; the host in the one way to write it."""

    host: str
    """Empty for all addresses of IPv4, ``::`` for all of IPv6."""
    port: int


def usable_host(host: str) -> bool:
    """Whether `host` is an IP address, or can be the name of a machine."""
    try:
        ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        short = len(host) <= _LONGEST_NAME
        return short and not _NUMBERS.match(host) and all(map(_LABEL.match, labels))
    return True


def place(host: str, port: int) -> Place:
    """`host` may be an IP address or a name."""
    text = plain(host).lower().removesuffix(".")
    return Place("" if text == "0.0.0.0" else text, port)  # noqa: S104 - read, not bound


def listening_at(description: str) -> Place | None:
    """Where a Twisted endpoint of TCP listens; None for others."""
    kind, *rest = (part.replace("\\", "") for part in re.split(r"(?<!\\):", description))
    if kind not in ("tcp", "tcp6"):
        return None
    by_place = [part for part in rest if "=" not in part]
    keys = dict(zip(("port", "interface", "backlog"), by_place, strict=False))
    keys |= dict(part.split("=", 1) for part in rest if "=" in part)
    return place(keys.get("interface", "") or ("::" if kind == "tcp6" else ""), int(keys["port"]))


def listening_twice(descriptions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of Twisted endpoints that cannot both be listened at."""
    for number, one in enumerate(descriptions):
        for other in descriptions[:number]:
            here, there = listening_at(one), listening_at(other)
            if here is None or there is None:
                twice = one == other
            else:
                twice = here.port == there.port != 0 and _take_the_same(here.host, there.host)
            if twice:
                yield other, one


def is_listened_at(server: Place, description: str) -> bool:
    """Whether a Twisted endpoint surely listens where a server is to be."""
    here = listening_at(description)
    return (
        here is not None
        and here.port == server.port
        and _take_the_same(here.host, server.host)
        and (here.host == server.host or _is_loopback(server.host))
    )


def _take_the_same(one: str, other: str) -> bool:
    """Whether two hosts of this machine are the same, or one stands for all and so for both."""
    wildcards = {one, other} & {"", "::"}
    return one == other or (bool(wildcards) and _is_ipv6(one) == _is_ipv6(other))


def _is_ipv6(host: str) -> bool:
    return ":" in host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
