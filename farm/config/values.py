"""The types of values in farm.toml, parsed strictly; errors say what is allowed."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Collection
from fractions import Fraction
from pathlib import Path

import attrs
from twisted.internet.endpoints import quoteStringArgument, serverFromString

from homing.balancer.listening import shown
from homing.farm.config.addresses import usable_host
from homing.shared.addresses import host_and_port, split_host_and_port
from homing.shared.id_sets import IdList, IdSet, from_data, parse_hex

_UNIX_PATH_MAX = 107
"""Bytes of the longest UNIX socket path on Linux (sockaddr_un, less the final zero)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%\Z")
_LISTENING = {"tcp", "tcp6"}
_BARE_IPV6 = re.compile(
    r"(?<=interface=)\[?([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]?(?=:\w+=|\Z)"
)
_SYSTEMD = re.compile(r"systemd:domain=INET6?:(index=\d+|name=[^:=]+)\Z")


@attrs.frozen
class Percent:
    """A part of a whole, from "0%" to "100%"."""

    part: Fraction

    @classmethod
    def parse(cls, value: object) -> Percent:
        """From text like "12.5%".  Raises ValueError."""
        match = _PERCENT.match(value) if isinstance(value, str) else None
        if not match or Fraction(match[1]) > 100:
            raise ValueError(f'{value!r} is not a percentage from "0%" to "100%"')
        return cls(Fraction(match[1]) / 100)


@attrs.frozen
class Address:
    """Where a server is: a UNIX socket on this machine, or a TCP port anywhere."""

    path: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, value: object) -> Address:
        """From "unix:PATH" or "tcp:HOST:PORT".  Raises ValueError."""
        text = value if isinstance(value, str) else ""
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest and "\0" not in rest:
            return cls(path=rest)
        try:
            host, port = split_host_and_port(rest if kind == "tcp" else "")
        except ValueError:
            raise ValueError(
                f"{value!r} is not an address; allowed: unix:PATH, or tcp:HOST:PORT with a port "
                "from 1 to 65535"
            ) from None
        if not usable_host(host):
            raise ValueError(
                f"{value!r} is not an address: {host!r} is no IP address, nor a host's name"
            )
        return cls(host=host, port=port)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"tcp:{host_and_port(self.host, self.port)}"


@attrs.frozen
class Endpoint:
    """A Twisted server endpoint that the balancer can listen at."""

    description: str

    @classmethod
    def parse(cls, value: object) -> Endpoint:
        """From a string like "tcp:8443:interface=127.0.0.1".  Raises ValueError.

        Twisted has the colons of an IPv6 address escaped; here they need not be.
        """
        text = value if isinstance(value, str) else ""
        kind, _, rest = text.partition(":")
        port = rest.partition(":")[0].removeprefix("port=")
        if _SYSTEMD.match(text):
            return cls(text)
        if kind not in _LISTENING or not port.isdecimal() or int(port) > 65535:
            raise ValueError(
                f"{value!r} cannot be listened at; allowed: a Twisted endpoint such as "
                "tcp:8443:interface=127.0.0.1, tcp6:8443:interface=::1, "
                "systemd:domain=INET:index=0 or systemd:domain=INET6:name=NAME, with a port from "
                "0 to 65535"
            )
        text = _BARE_IPV6.sub(lambda bare: quoteStringArgument(bare[1]), text)
        try:
            serverFromString(object(), text)  # only makes the endpoint
        except (TypeError, ValueError) as error:
            raise ValueError(f"{value!r} cannot be listened at: {error}") from None
        return cls(text)

    def __str__(self) -> str:
        return shown(self.description)


@attrs.frozen
class Network:
    """An IP address, or a network of them."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    @classmethod
    def parse(cls, value: object) -> Network:
        """From a string like "10.0.0.0/8".  Raises ValueError."""
        try:
            if isinstance(value, str):
                return cls(ipaddress.ip_network(value))
            why = "a string is needed"
        except ValueError as error:
            why = str(error)
        raise ValueError(
            f"{value!r} is not a network: {why}; allowed: an address such as 10.0.0.4 or ::1, or "
            "a network such as 10.0.0.0/8"
        )


@attrs.frozen
class ListFile:
    """A file that lists identifiers."""

    path: str

    def read(self, folder: Path) -> IdSet:
        """The identifiers in it: one in hex a line; blank lines and # comments are skipped.

        Raises ValueError, which names the file that cannot be read, or the line that is wrong.
        """
        identifiers = []
        try:
            text = (folder / self.path).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}: is not UTF-8 text: {error}") from error
        for number, line in enumerate(text.splitlines(), 1):
            word = line.partition("#")[0].strip()
            if word:
                try:
                    identifiers.append(parse_hex(word))
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
        return IdList(identifiers)


@attrs.frozen
class Ids:
    """A server's own IDs, one set or several."""

    sets: tuple[IdSet | ListFile, ...]
    in_a_list: bool = attrs.field(default=False, eq=False)
    """Whether farm.toml writes them as a list; messages then say which one."""

    @staticmethod
    def parse_one(value: object) -> IdSet | ListFile:
        """From a table like { prefix = "53525641" }.  Raises ValueError."""
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not a table such as {{ prefix = HEX }}")
        if set(value) != {"list_file"}:
            return from_data(value)
        if not isinstance(value["list_file"], str):
            raise ValueError("list_file takes the path of a file, { list_file = PATH }")
        return ListFile(value["list_file"])

    def key(self, place: int) -> str:
        """What farm.toml calls the set at `place`, from 0."""
        return f"ids[{place + 1}]" if self.in_a_list else "ids"


def server_name(value: str) -> str:
    """Check the name of a server, which is used in paths, logs and tables.  Raises ValueError."""
    if not _NAME.match(value):
        raise ValueError(
            f"{value!r} is not a name; allowed: 1 to 63 of the letters a-z, digits, '.', '_', '-', "
            "the first a letter or digit"
        )
    return value


def host_name(value: str) -> str:
    """Check a name that a certificate can hold for: of a host, or an IP address.  ValueError."""
    if not value.isascii() or not usable_host(value):
        raise ValueError(f"{value!r} is neither the name of a host nor an IP address")
    return value


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """A check for `Annotated`: the value is one of `names`."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{value!r} is unknown; allowed: {', '.join(names)}")
        return value

    return check


def at_least(lowest: float) -> Callable[[float], float]:
    """A check for `Annotated`: the value is finite and at least `lowest`."""

    def check(value: float) -> float:
        if not lowest <= value < math.inf:
            raise ValueError(f"{value!r} is not allowed; allowed: {lowest:g} and more")
        return value

    return check


def between(lowest: int, highest: int) -> Callable[[int], int]:
    """A check for `Annotated`: the value is one of these, or between them."""

    def check(value: int) -> int:
        if not lowest <= value <= highest:
            raise ValueError(f"{value!r} is not allowed; allowed: {lowest} to {highest}")
        return value

    return check


def above(bound: float) -> Callable[[float], float]:
    """A check for `Annotated`: the value is finite and greater than `bound`."""

    def check(value: float) -> float:
        if not bound < value < math.inf:
            raise ValueError(f"{value!r} is not allowed; allowed: above {bound:g}")
        return value

    return check


def fits_unix_socket(path: str) -> bool:
    """Whether the kernel takes `path` as the path of a UNIX socket."""
    return len(os.fsencode(path)) <= _UNIX_PATH_MAX
