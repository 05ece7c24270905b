"""Builds balancers and servers from a farm.toml: the one place where both sides meet."""

from __future__ import annotations

from collections.abc import Sequence
from socket import socket

import attrs
from twisted.logger import Logger

from homing.balancer.learned import MOST_KEY_NAMES, LearnedIds
from homing.balancer.options import BalancerOptions
from homing.balancer.service import Balancer, BalancerReactor
from homing.balancer.table import Table
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.guard import demo, guard
from homing.farm.config.keys import Keys
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.joining import Joined
from homing.farm.plan import plan
from homing.farm.processes.key_watch import KeyWatch
from homing.farm.ways import way
from homing.server.apps.applications import application
from homing.server.groups.group import Group
from homing.server.groups.store import Sealed, open_store, resolved
from homing.server.reactor import ServerReactor
from homing.server.service import TCPAddress, TLSServer, UnixAddress
from homing.server.tls.context import TLSOptions
from homing.shared.id_sets import IdRange
from homing.shared.record import Record
from homing.shared.schemes import SCHEMES

_log = Logger()

_TO_TEST = Record((IdRange.of_prefix(b"homing self-test"),))
"""What a server draws from while it tests itself, before the registry assigns it anything."""


def balancer(
    reactor: BalancerReactor, config: FarmConfig, sockets: Sequence[socket] | None = None
) -> Balancer:
    """The balancer of a farm; it accepts from `sockets`, if given.

    Raises HomingError, InvalidConfig among them, and OSError.
    """
    guard(config, make=False)
    section = config.balancer
    options, lifetime = balancer_options(config), section.learned_lifetime
    learned = LearnedIds(section.learned_ids, lifetime)
    key_names = LearnedIds(MOST_KEY_NAMES, lifetime)
    if config.has_registry:  # the rest comes from there
        return Balancer(
            reactor,
            options,
            Table(default=section.default_server),
            {},
            learned=learned,
            key_names=key_names,
            sockets=sockets,
        )
    result = plan(config)
    learns = any(one.learns for one in config.server)
    return Balancer(
        reactor,
        options,
        result.table,
        {one.name: way(config, one) for one in config.server},
        groups=result.groups,
        learned=learned if learns else None,
        key_names=key_names if learns else None,
        records=result.records,
        sockets=sockets,
    )


def balancer_options(config: FarmConfig) -> BalancerOptions:
    """What [balancer] says of how a balancer runs."""
    section = config.balancer
    return BalancerOptions(
        listen=[endpoint.description for endpoint in section.listen],
        policy=section.policy,
        ignore_ids=section.ignore_ids,
        close_not_tls=section.not_tls == "close",
        hello_timeout=section.hello_timeout,
        hello_ceiling=section.max_hello,
        max_waiting=section.max_waiting,
        max_connections=section.max_connections,
        max_source_rate=section.max_source_rate,
        log_decisions=section.log_decisions,
        source_rate=section.source_rate,
        server_excess=section.server_excess,
    )


def renew(config: FarmConfig, process: Balancer | TLSServer) -> None:
    """Have `process` follow what of `config` can change in mid-run.  Raises HomingError."""
    if isinstance(process, TLSServer):
        options = tls_options(config)
        process.renew(options)
        _log.info("{certificate} is in force", certificate=str(options.certificate))
    else:
        process.renew(balancer_options(config), config.balancer.default_server)


def keep_up(
    config: FarmConfig, process: Balancer | TLSServer, joined: Joined | None = None
) -> KeyWatch | None:
    """What has `process` follow a change of the farm's key; None where the scheme has none."""
    if not SCHEMES[config.session_ids.scheme].key_rotates:
        return None
    farm_key = Keys(config.state_dir / "keys").farm_key
    if joined is not None:
        return KeyWatch(farm_key, joined.look_again)

    def apply() -> None:
        if isinstance(process, TLSServer):
            records = plan(config, process.name).records
            process.issuer.record = records[str(process.name)]
            one = next(one for one in config.server if one.name == process.name)
            if process.group is not None and one.group is not None:
                process.group.records = tuple(records[name] for name in config.members(one.group))
        else:
            result = plan(config)
            process.agreement.records = result.records
            table = attrs.evolve(result.table, default=process.rules.table.default)
            process.rules = attrs.evolve(process.rules, table=table)

    return KeyWatch(farm_key, apply)


def managed(config: FarmConfig, name: str) -> ServerSection:
    """The managed server of that name.  Raises InvalidConfig."""
    there_are = {one.name: one for one in config.managed}
    if name not in there_are:
        names = ", ".join(there_are) or "none"
        raise InvalidConfig(config.path, [f'"{name}" is no managed server; there are {names}'])
    return there_are[name]


def server(
    reactor: ServerReactor, config: FarmConfig, name: str, app: str | None = None
) -> TLSServer:
    """The server of that name; `app` overrides the application that farm.toml gives it.

    Raises HomingError, InvalidConfig among them, and OSError.
    """
    guard(config)
    one = managed(config, name)
    address: UnixAddress | TCPAddress
    if one.address.path is not None:
        path = config.socket_path(one.address)
        path.parent.mkdir(parents=True, exist_ok=True)
        address = UnixAddress(path)
    else:
        trusted = one.proxy_protocol_from
        address = TCPAddress(
            one.address.host,
            one.address.port,
            one.proxy_protocol,
            None if trusted is None else tuple(each.network for each in trusted),
        )
    runs = application(app or one.app, name)
    records = {} if config.has_registry else plan(config, name).records
    group = _group(reactor, config, one, records) if one.group is not None else None
    return TLSServer(
        reactor,
        name,
        address,
        record=records.get(name, _TO_TEST),
        options=tls_options(config),
        application=runs,
        group=group,
        journal=config.state_dir / "given-out" / name,
        log_connections=config.farm.log_connections,
    )


def _group(
    reactor: ServerReactor, config: FarmConfig, one: ServerSection, records: dict[str, Record]
) -> Group:
    assert one.group is not None
    section = config.session_ids
    store = open_store(resolved(section.store, config.state_dir), reactor)
    sealed = Sealed(store, Keys(config.state_dir / "keys").group_key(one.group), one.group)
    members = config.members(one.group)
    return Group(
        reactor,
        sealed,
        [records[name] for name in members if name in records],
        session_lifetime=section.lifetime,
        name=one.name,
        members=members,
    )


def tls_options(config: FarmConfig) -> TLSOptions:
    """What [tls] and [session_ids] say; the demo certificates, made now, where they say nothing."""
    tls, section = config.tls, config.session_ids
    if tls.certificate is not None and tls.key is not None:
        certificate, key = config.folder / tls.certificate, config.folder / tls.key
    else:
        made = demo(config)
        certificate, key = made.certificate, made.key
    return TLSOptions(
        certificate=certificate,
        key=key,
        session_lifetime=section.lifetime,
        session_cache=section.cache,
        resumption=section.resumption,
        ticket_secret_lifetime=section.ticket_secret_lifetime,
        renew_tickets=section.renew_tickets,
        renegotiation=tls.renegotiation,
    )
