"""Compares addresses of a farm.toml: the same one may be written in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from homing.shared.addresses import ip_address, plain

_LABEL = re.compile(r"[^\W_]([\w-]{0,61}\w)?\Z|_[\w-]{0,62}\Z")
_NUMBER_AT_END = re.compile(r"(.*\.)?([0-9]+|0[xX][0-9A-Fa-f]*)\Z")
_LONGEST_NAME = 253
_LOCALHOST = ("127.0.0.1", "::1")


@attrs.frozen
class Place:
    """A TCP port at a host, in normal form."""

    host: str
    """An address or name; empty for all IPv4 addresses, ``::`` for all IPv6 addresses."""
    port: int


def usable_host(host: str) -> bool:
    """Whether `host` is an IP address, or can be the name of a machine."""
    try:
        ip_address(host)
    except ValueError:
        name = host.removesuffix(".")
        short = len(host) <= _LONGEST_NAME
        # What ends in a number is an IPv4 address to some resolvers, in a form of its own
        return short and not _NUMBER_AT_END.match(name) and all(map(_LABEL.match, name.split(".")))
    return True


def place(host: str, port: int) -> Place:
    """The normal form of a host, an IP address or a name, and its port."""
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


def same_place(one: Place, other: Place) -> bool:
    """Whether two servers would surely be at one port of one machine."""
    return one.port == other.port and any(
        here == there or _takes(here, there) or _takes(there, here)
        for here in _hosts(one.host)
        for there in _hosts(other.host)
    )


def is_listened_at(server: Place, description: str) -> bool:
    """Whether a Twisted endpoint surely listens where a server is to be."""
    here = listening_at(description)
    return here is not None and same_place(here, server)


def _hosts(host: str) -> tuple[str, ...]:
    """The addresses that a host stands for; only localhost is known without a resolver."""
    return _LOCALHOST if host == "localhost" else (host,)


def _takes(one: str, other: str) -> bool:
    """Whether `one` is all addresses of a family, and `other` an address of this machine in it."""
    return one in ("", "::") and _is_ipv6(one) == _is_ipv6(other) and _is_ours(other)


def _take_the_same(one: str, other: str) -> bool:
    """Whether two hosts of this machine are the same, or one stands for all and so for both."""
    return any(
        here == there or ({here, there} & {"", "::"} and _is_ipv6(here) == _is_ipv6(there))
        for here in _hosts(one)
        for there in _hosts(other)
    )


def _is_ipv6(host: str) -> bool:
    return ":" in host


def _is_ours(host: str) -> bool:
    try:
        return host == "" or ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return False
