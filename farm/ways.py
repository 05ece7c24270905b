"""How a balancer reaches servers: those of farm.toml, and those that the registry adds."""

from __future__ import annotations

import attrs
from OpenSSL import SSL

from homing.balancer.data_planes.relay import ProbeOptions, RelayOptions
from homing.balancer.probing.visiting import client_context
from homing.balancer.ways import To, Way
from homing.certs.demo import DemoCertificates
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.config.values import Address
from homing.shared.farm_state.values import ServerFacts


def way(config: FarmConfig, one: ServerSection) -> Way:
    """The way to a server that farm.toml describes.  Raises InvalidConfig."""
    if one.address.path is not None:
        return str(config.socket_path(one.address))
    return RelayOptions(
        host=one.address.host,
        port=one.address.port,
        learn_ids=one.learns,
        proxy_protocol=one.proxy_protocol,
        connect_timeout=config.balancer.connect_timeout,
        idle_timeout=config.balancer.idle_timeout,
        probe=_probe(config, one) if one.is_probed else None,
    )


def _probe(config: FarmConfig, one: ServerSection) -> ProbeOptions:
    """How to probe a relayed server; ours have the demo CA where [tls] says nothing."""
    ca = None
    if one.ca is not None:
        ca = config.folder / one.ca
        try:
            client_context(SSL.TLS1_3_VERSION, ca)
        except SSL.Error as error:
            words = f'server "{one.name}": ca: {ca} cannot be used as a CA\'s certificate: PEM'
            raise InvalidConfig(config.path, [words]) from error
    elif one.managed and config.tls.certificate is None:
        ca = DemoCertificates(config.state_dir).ca
    return ProbeOptions(
        tls_name=one.tls_name or one.address.host,
        ca=ca,
        strict=bool(one.tls_name or one.ca),
    )


def ways(config: FarmConfig) -> To:
    """Ways to the servers that the registry has; farm.toml may say more of some."""
    sections = {one.name: one for one in config.server}

    def to(name: str, facts: ServerFacts) -> Way:
        address = Address.parse(facts.address)
        if address.path is not None and not facts.managed:
            raise ValueError("a server that is not ours takes no hand-off")
        section = sections.get(name) or ServerSection(name, address, managed=facts.managed)
        found = attrs.evolve(section, address=address, proxy_protocol=facts.proxy_protocol)
        return way(config, found)

    return to
