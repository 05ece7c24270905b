"""Keys of a farm.toml that are each valid, but contradict each other."""

from __future__ import annotations

import os
from collections.abc import Iterator

from homing.balancer.listening import shown
from homing.farm.config.addresses import Place, is_listened_at, listening_twice, place, same_place
from homing.farm.config.registry_url import is_encrypted
from homing.farm.config.sections import FarmConfig, FarmSection, ServerSection
from homing.farm.config.values import fits_unix_socket
from homing.server.groups.store.urls import check, resolved
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES


def contradictions(config: FarmConfig) -> Iterator[str]:
    """A message for each contradiction."""
    names = [server.name for server in config.server]
    if not names and not config.has_registry:
        yield "server: at least one [[server]] is needed"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f'server.name: "{name}" is the name of {names.count(name)} servers'
    default = config.balancer.default_server
    if default is not None and default not in names:
        yield f'balancer.default_server: "{default}" is no server; there are {", ".join(names)}'
    if not config.balancer.listen:
        yield "balancer.listen: at least one endpoint is needed"
    yield from _same_ports(config)
    yield from _forgetful_workers(config)
    yield from _beyond_the_scheme(config)
    try:
        check(resolved(config.session_ids.store, config.state_dir))
    except HomingError as error:
        yield f"session_ids.store: {error}"
    yield from _registry_keys(config.farm)
    yield from _same_sockets(config)
    if (config.tls.certificate is None) != (config.tls.key is None):
        yield "tls: certificate and key go together"
    for group in sorted({server.group for server in config.server if server.group} & set(names)):
        yield f'server.group: "{group}" is the name of a server too'
    for server in config.server:
        for fault in _server_contradictions(config, server):
            yield f'server "{server.name}": {fault}'


def _beyond_the_scheme(config: FarmConfig) -> Iterator[str]:
    section = config.session_ids
    needs = [one.need(one.name) for one in config.managed if one.ids is None]
    yield from SCHEMES[section.scheme].limits(needs, section.settings)
    for scheme in SCHEMES.values():
        key = scheme.own_key
        if key and (section.scheme == scheme.name) != (getattr(section, key) is not None):
            yield f'session_ids: scheme = "{scheme.name}" and {key} go together'


def _forgetful_workers(config: FarmConfig) -> Iterator[str]:
    workers, learners = config.balancer.workers or 1, [one.name for one in config.learners]
    if workers > 1 and learners:
        yield (
            f"balancer.workers: {workers} processes, but what {', '.join(learners)} gives out is "
            "remembered only by the one that relayed it: say workers = 1, or learn_ids = false "
            "there"
        )


def _registry_keys(section: FarmSection) -> Iterator[str]:
    keys = ("registry_ca", "registry_certificate", "registry_key")
    given = [key for key in keys if getattr(section, key) is not None]
    if is_encrypted(section.registry):
        if missing := [key for key in keys if key not in given]:
            yield f"farm: etcd over https needs {', '.join(keys)}; without: {', '.join(missing)}"
    elif given:
        yield f"farm: {', '.join(given)}: for etcd over https; registry is {section.registry!r}"


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
        yield f"{', '.join(given[:-1])} and {given[-1]}: only one of them can be given"
    yield from _misplaced(config, server)
    if server.address.path is not None:
        path = str(config.socket_path(server.address).absolute())
        if not fits_unix_socket(path):
            yield f"address: {path} is too long for a UNIX socket; choose a shorter state_dir"
        if server.proxy_protocol:
            yield "proxy_protocol: is for tcp:HOST:PORT; hand-off keeps the client's address"
        for key in ("tls_name", "ca", "probe", "learn_ids"):
            if getattr(server, key) is not None:
                yield f"{key}: is for tcp:HOST:PORT; hand-off needs no probe"
        if not server.managed:
            yield "address: a server that is not ours takes no hand-off; use tcp:HOST:PORT"
    elif server.probe is False:
        for key in ("tls_name", "ca"):
            if getattr(server, key) is not None:
                yield f"{key}: is for servers that are probed"
    if server.proxy_protocol_from is not None and not (server.managed and server.proxy_protocol):
        yield "proxy_protocol_from: is for managed servers with proxy_protocol = true"
    if server.proxy_protocol_from == []:
        yield "proxy_protocol_from: at least one address or network is needed"
    if not server.managed:
        for key in ("share", "max_ids", "app", "group"):
            if getattr(server, key) is not None:
                yield f"{key}: is for managed servers; say with ids what this one gives out"


def _misplaced(config: FarmConfig, server: ServerSection) -> Iterator[str]:
    """Keys that have no effect under the scheme, or in a group with one record."""
    scheme = config.session_ids.scheme
    for key in ("share", "max_ids"):
        if getattr(server, key) is not None and key not in SCHEMES[scheme].server_keys:
            takers = [f'"{one.name}"' for one in SCHEMES.values() if key in one.server_keys]
            yield f'{key}: is for scheme = {" or ".join(takers)}; this is "{scheme}"'
    if server.group is not None and config.balancer.group_choice == "policy":
        for key in ("ids", "share", "max_ids"):
            if getattr(server, key) is not None:
                yield f'{key}: with group_choice = "policy" a group has one record for all'
