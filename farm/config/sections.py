"""The sections of farm.toml: their keys, the allowed values, and the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs

from homing.balancer.policies import NAMES as POLICIES
from homing.farm.config.registry_url import NONE, registry_url
from homing.farm.config.values import (
    Address,
    Endpoint,
    Ids,
    Network,
    Percent,
    above,
    at_least,
    between,
    host_name,
    one_of,
    server_name,
)
from homing.shared.moves import Way
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.base import Need, Settings

RESUMPTION = ("both", "ids", "tickets")
DEFAULT_REGISTRY = "sqlite:registry.sqlite"

Seconds = Annotated[float, at_least(0.1)]
Count = Annotated[int, at_least(1)]

MOST_WORKERS = 256


@attrs.frozen
class FarmSection:
    """[farm]."""

    state_dir: str = "homing-state"
    name: Annotated[str, server_name] = "homing"
    registry: Annotated[str, registry_url] = DEFAULT_REGISTRY
    registry_ca: str | None = None
    registry_certificate: str | None = None
    registry_key: str | None = None
    log_connections: bool = False


@attrs.frozen
class BalancerSection:
    """[balancer]."""

    listen: list[Endpoint] = attrs.field(factory=lambda: [Endpoint("tcp:8443:interface=127.0.0.1")])
    workers: Annotated[int, between(1, MOST_WORKERS)] | None = None
    policy: Annotated[str, one_of(POLICIES)] = "round-robin"
    default_server: str | None = None
    not_tls: Annotated[str, one_of(("policy", "close"))] = "policy"
    ignore_ids: bool = False
    hello_timeout: Seconds = 5.0
    max_hello: Annotated[int, at_least(512)] = 16_384
    group_choice: Annotated[str, one_of(("issuer", "policy"))] = "issuer"
    learned_ids: Count = 100_000
    learned_lifetime: Seconds = 7200.0
    max_waiting: Count = 4096
    max_connections: Annotated[int, at_least(0)] = 100_000
    max_source_rate: Annotated[float, at_least(0)] = 0.0
    connect_timeout: Seconds = 3.0
    idle_timeout: Seconds = 3600.0
    log_decisions: bool = False
    source_rate: Annotated[float, at_least(0)] = 200.0
    server_excess: Annotated[float, at_least(0)] = 2.0


@attrs.frozen
class SessionIdsSection:
    """[session_ids]."""

    scheme: Annotated[str, one_of(SCHEMES)] = next(iter(SCHEMES))
    spare: Percent = attrs.field(factory=lambda: Percent.parse("20%"))
    moving: Annotated[str, one_of(tuple(Way))] = Way.EXCEPTIONS.value
    function: str | None = None
    lifetime: Count = 7200
    cache: Count = 20_480
    resumption: Annotated[str, one_of(RESUMPTION)] = "both"
    ticket_secret_lifetime: Count = 43_200
    renew_tickets: bool = True
    store: str = attrs.field(default="sqlite:sessions.sqlite", repr=False)  # may have a password

    @property
    def settings(self) -> Settings:
        """Those of its keys that the scheme uses."""
        return Settings(self.spare.part, self.cache, self.function)


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
    weight: Annotated[float, above(0)] = 1.0
    proxy_protocol: bool = False
    proxy_protocol_from: list[Network] | None = None
    app: str | None = None
    tls_name: Annotated[str, host_name] | None = None
    ca: str | None = None
    probe: bool | None = None
    learn_ids: bool | None = None

    @property
    def is_probed(self) -> bool:
        """Whether the balancer looks at it as a TLS client: at relayed servers, unless told not."""
        return self.address.path is None and self.probe is not False

    @property
    def learns(self) -> bool:
        """Whether the IDs that it gives out are remembered: by default, where nobody knows them."""
        if self.learn_ids is not None:
            return self.learn_ids
        return not self.managed and self.ids is None

    def need(self, owner: str) -> Need:
        """What `owner`, the server or its group, asks of the scheme."""
        return Need(owner, self.share.part if self.share else None, self.max_ids)


@attrs.frozen
class FarmConfig:
    """A whole farm.toml, and the path it was read from."""

    server: list[ServerSection]
    farm: FarmSection = attrs.field(factory=FarmSection)
    balancer: BalancerSection = attrs.field(factory=BalancerSection)
    session_ids: SessionIdsSection = attrs.field(factory=SessionIdsSection)
    tls: TLSSection = attrs.field(factory=TLSSection)
    path: Path = attrs.field(default=Path("farm.toml"), kw_only=True)

    @property
    def managed(self) -> list[ServerSection]:
        """The servers that are ours."""
        return [one for one in self.server if one.managed]

    def members(self, group: str) -> tuple[str, ...]:
        """The servers of a group."""
        return tuple(one.name for one in self.server if one.group == group)

    @property
    def learners(self) -> list[ServerSection]:
        """The relayed servers whose identifiers are remembered, by the process that saw them."""
        return [one for one in self.server if one.address.path is None and one.learns]

    def workers(self, cores: int) -> int:
        """How many processes a balancer has on a machine with so many cores to use."""
        if self.balancer.workers is not None:
            return self.balancer.workers
        return 1 if self.learners else min(cores, MOST_WORKERS)

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent

    @property
    def state_dir(self) -> Path:
        """The folder of sockets, demo certificates and farm.json."""
        return self.folder / self.farm.state_dir

    @property
    def has_registry(self) -> bool:
        """Whether the farm's state is agreed on in a registry, not by hand."""
        return self.farm.registry != NONE

    def socket_path(self, address: Address) -> Path:
        """The path of the UNIX socket at `address`, which is a unix: one."""
        assert address.path is not None
        return self.state_dir / address.path
