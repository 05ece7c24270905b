"""farm.toml: what a farm is made of.  `load` reads it and says everything that is wrong with it."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import attrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from homing.balancer.listening import shown
from homing.balancer.policies import NAMES as POLICIES
from homing.farm.config.addresses import Place, is_listened_at, listening_twice, place, same_place
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.values import (
    Address,
    Endpoint,
    Ids,
    Network,
    Percent,
    at_least,
    converter,
    fits_unix_socket,
    one_of,
    server_name,
)
from homing.server.groups.store.urls import check, resolved
from homing.shared.errors import HomingError

SCHEMES = ("range", "bits", "list", "hash", "seeded", "keyed", "function")
LONGEST_LIST = 1_000_000
"""Members of a list that the balancer holds, at most, for one server."""

RESUMPTION = ("both", "ids", "tickets")


Policy = Annotated[str, one_of(*POLICIES)]
Scheme = Annotated[str, one_of(*SCHEMES)]
Seconds = Annotated[float, at_least(0.1)]
Count = Annotated[int, at_least(1)]


@attrs.frozen
class FarmSection:
    """[farm]."""

    state_dir: str = "homing-state"
    log_connections: bool = False


@attrs.frozen
class BalancerSection:
    """[balancer]."""

    listen: list[Endpoint] = attrs.field(factory=lambda: [Endpoint("tcp:8443:interface=127.0.0.1")])
    policy: Policy = "round-robin"
    default_server: str | None = None
    not_tls: Annotated[str, one_of("policy", "close")] = "policy"
    ignore_ids: bool = False
    hello_timeout: Seconds = 5.0
    max_hello: Annotated[int, at_least(512)] = 16_384
    group_choice: Annotated[str, one_of("issuer", "policy")] = "issuer"
    learned_ids: Count = 100_000
    learned_lifetime: Seconds = 7200.0
    max_waiting: Count = 4096
    connect_timeout: Seconds = 3.0
    idle_timeout: Seconds = 3600.0
    log_decisions: bool = False
    source_rate: Annotated[float, at_least(0)] = 200.0
    server_excess: Annotated[float, at_least(0)] = 2.0


@attrs.frozen
class SessionIdsSection:
    """[session_ids]."""

    scheme: Scheme = "range"
    spare: Percent = attrs.field(factory=lambda: Percent.parse("20%"))
    function: str | None = None
    lifetime: Count = 7200
    cache: Count = 20_480
    resumption: Annotated[str, one_of(*RESUMPTION)] = "both"
    ticket_secret_lifetime: Count = 43_200
    renew_tickets: bool = True
    store: str = attrs.field(default="sqlite:sessions.sqlite", repr=False)  # may have a password


@attrs.frozen
class TLSSection:
    """[tls]."""

    certificate: str | None = None
    key: str | None = None
    renegotiation: bool = False


@attrs.frozen
class ServerSection:
    """One [[server]]."""

    name: Annotated[str, server_name]
    address: Address
    managed: bool = True
    group: Annotated[str, server_name] | None = None
    ids: Ids | None = None
    share: Percent | None = None
    max_ids: Count | None = None
    proxy_protocol: bool = False
    proxy_protocol_from: list[Network] | None = None
    app: str | None = None


@attrs.frozen
class FarmConfig:
    """A whole farm.toml, and the path it was read from."""

    server: list[ServerSection]
    farm: FarmSection = attrs.field(factory=FarmSection)
    balancer: BalancerSection = attrs.field(factory=BalancerSection)
    session_ids: SessionIdsSection = attrs.field(factory=SessionIdsSection)
    tls: TLSSection = attrs.field(factory=TLSSection)
    path: Path = attrs.field(default=Path("farm.toml"), kw_only=True)

    def members(self, group: str) -> tuple[str, ...]:
        """The servers of a group."""
        return tuple(one.name for one in self.server if one.group == group)

    @property
    def folder(self) -> Path:
        """What relative paths in the file start from."""
        return self.path.parent

    @property
    def state_dir(self) -> Path:
        """The folder of sockets, demo certificates and farm.json."""
        return self.folder / self.farm.state_dir

    def socket_path(self, address: Address) -> Path:
        """The UNIX socket that `address`, a unix: one, means."""
        assert address.path is not None
        return self.state_dir / address.path


def load(path: Path) -> FarmConfig:
    """Read a farm.toml.  Raises InvalidConfig with every fault."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(path, [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InvalidConfig(path, [f"is not UTF-8 text: {error}"]) from error
    except (ValueError, RecursionError) as error:  # more than TOMLDecodeError: numbers too long
        raise InvalidConfig(path, [f"is not TOML: {error}"]) from error
    ours = list(_wrong_shapes(data))
    try:
        config = converter().structure(data, FarmConfig)
    except BaseValidationError as error:
        raise InvalidConfig(path, [*ours, *_messages(error, "")]) from None
    config = attrs.evolve(config, path=path)
    faults = ours or list(_contradictions(config))
    if faults:
        raise InvalidConfig(path, faults)
    return config


def _wrong_shapes(data: dict[str, Any]) -> Iterator[str]:
    """What would be misunderstood, taken out of `data`."""
    if data.pop("path", None) is not None:  # ours, not the file's
        yield "path: unknown key"
    balancer = data.get("balancer")
    if isinstance(balancer, dict) and not isinstance(balancer.get("listen", []), list):
        yield f"balancer.listen: {balancer.pop('listen')!r} is not a list: write [ ... ]"
    servers = data.get("server", [])
    for number, server in enumerate(servers if isinstance(servers, list) else [], 1):
        key = "proxy_protocol_from"
        if isinstance(server, dict) and not isinstance(server.get(key, []), list):
            yield f"server[{number}].{key}: {server.pop(key)!r} is not a list: write [ ... ]"
    if not isinstance(servers, list):
        yield f"server: {data['server']!r} is not a list of tables: write [[server]]"
        data["server"] = []


def _messages(error: BaseException, place: str) -> Iterator[str]:
    """One message for every leaf of cattrs' tree of errors, with the key it belongs to."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            place = f"{place}.{note.name}" if place else note.name
        elif isinstance(note, IterableValidationNote):
            place = f"{place}[{int(note.index) + 1}]"
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _messages(inner, place)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield f"{place}.{key}: unknown key{_like(key, error.cl)}".lstrip(".")
    elif isinstance(error, KeyError):
        yield f"{place or error.args[0]}: is missing"
    elif isinstance(error, TypeError | AttributeError):
        yield f"{place}: is of the wrong kind: {error}"
    else:
        yield f"{place}: {error}"


def _like(key: str, section: type) -> str:
    known = [field.name for field in attrs.fields(section) if field.name != "path"]
    close = difflib.get_close_matches(key, known, 1)
    return f", perhaps {close[0]}?" if close else f"; allowed: {', '.join(known)}"


def _contradictions(config: FarmConfig) -> Iterator[str]:
    """What is wrong between the keys, each of which is right by itself."""
    names = [server.name for server in config.server]
    if not names:
        yield "server: at least one [[server]] is needed"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f'server.name: "{name}" is the name of {names.count(name)} servers'
    default = config.balancer.default_server
    if default is not None and default not in names:
        yield f'balancer.default_server: "{default}" is no server; there are {", ".join(names)}'
    if not config.balancer.listen:
        yield "balancer.listen: at least one endpoint is needed"
    yield from _same_ports(config)
    needy = any(server.managed and server.ids is None for server in config.server)
    if config.session_ids.scheme == "range" and config.session_ids.spare.part == 1 and needy:
        yield "session_ids.spare: 100% leaves nothing for the servers"
    if config.session_ids.scheme == "list" and config.session_ids.cache > LONGEST_LIST // 2:
        yield f"session_ids.cache: a list is twice as long; at most {LONGEST_LIST // 2} is allowed"
    try:
        check(resolved(config.session_ids.store, config.state_dir))
    except HomingError as error:
        yield f"session_ids.store: {error}"
    yield from _same_sockets(config)
    if (config.tls.certificate is None) != (config.tls.key is None):
        yield "tls: certificate and key go together"
    if (config.session_ids.scheme == "function") != (config.session_ids.function is not None):
        yield 'session_ids: scheme = "function" and function = "module:callable" go together'
    for group in sorted({server.group for server in config.server if server.group} & set(names)):
        yield f'server.group: "{group}" is the name of a server too'
    for server in config.server:
        for fault in _server_contradictions(config, server):
            yield f'server "{server.name}": {fault}'


def _same_sockets(config: FarmConfig) -> Iterator[str]:
    owners: dict[str, str] = {}
    for server in config.server:
        if server.address.path is not None:
            path = os.path.normpath(config.socket_path(server.address))
            other = owners.setdefault(path, server.name)
            if other != server.name:
                yield f'server: "{other}" and "{server.name}" have the same address {path}'


def _same_ports(config: FarmConfig) -> Iterator[str]:
    endpoints = [one.description for one in config.balancer.listen]
    for one, twice in listening_twice(endpoints):
        yield (
            f'balancer.listen: "{shown(one)}" and "{shown(twice)}" are one address: remove one '
            "of them"
        )
    others: list[tuple[ServerSection, Place]] = []
    for server in config.server:
        if server.address.path is not None:
            continue
        where = place(server.address.host, server.address.port)
        for endpoint in endpoints:
            if is_listened_at(where, endpoint):
                yield (
                    f'server "{server.name}": address: {server.address} is where the balancer '
                    f'itself listens, by "{shown(endpoint)}": choose another port'
                )
        for other, there in others:
            ours = server.managed or other.managed
            if ours and other.name != server.name and same_place(where, there):
                yield (
                    f'server "{server.name}": address: {server.address} is the address of '
                    f'"{other.name}" too: give each a port of its own'
                )
                break
        others.append((server, where))


def _server_contradictions(config: FarmConfig, server: ServerSection) -> Iterator[str]:
    given = [key for key in ("ids", "share", "max_ids") if getattr(server, key) is not None]
    if len(given) > 1:
        yield f"{' and '.join(given)} exclude each other"
    yield from _misplaced(config, server)
    if server.address.path is not None:
        path = str(config.socket_path(server.address).absolute())
        if not fits_unix_socket(path):
            yield f"address: {path} is too long for a UNIX socket; choose a shorter state_dir"
        if server.proxy_protocol:
            yield "proxy_protocol: is for tcp:HOST:PORT; hand-off keeps the client's address"
        if not server.managed:
            yield "address: a server that is not ours takes no hand-off; use tcp:HOST:PORT"
    if server.proxy_protocol_from is not None and not (server.managed and server.proxy_protocol):
        yield "proxy_protocol_from: is for managed servers with proxy_protocol = true"
    if server.proxy_protocol_from == []:
        yield "proxy_protocol_from: at least one address or network is needed"
    if not server.managed:
        for key in ("share", "max_ids", "app", "group"):
            if getattr(server, key) is not None:
                yield f"{key}: is for managed servers; say with ids what this one gives out"


def _misplaced(config: FarmConfig, server: ServerSection) -> Iterator[str]:
    """Keys that say nothing under the scheme, or in a group with one record."""
    scheme = config.session_ids.scheme
    if server.share is not None and scheme != "range":
        yield f'share: is for scheme = "range"; this is "{scheme}"'
    if server.max_ids is not None and scheme not in ("range", "list"):
        yield f'max_ids: is for scheme = "range" or "list"; this is "{scheme}"'
    if scheme == "list" and (server.max_ids or 0) > LONGEST_LIST:
        yield f"max_ids: a list has at most {LONGEST_LIST} members"
    if server.group is not None and config.balancer.group_choice == "policy":
        for key in ("ids", "share", "max_ids"):
            if getattr(server, key) is not None:
                yield f'{key}: with group_choice = "policy" a group has one record for all'
