"""Three real members of one cluster, over TLS with client certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from homing.certs.registry import MEMBER_NAME, Files, RegistryCertificates, registry_certificates
from homing.shared.registry.etcd import EtcdRegistry, Member, RegistryTls, load_tls, members
from tests.etcd_process import EtcdProcess, fast_folder
from tests.reactor import HOST, eventually, reactor

NAMES = ("e1", "e2", "e3")
HOSTS = (HOST, "127.0.0.1")
"""Where a member is, and where its connections to the others come from, which they check."""


def options(made: RegistryCertificates, files: Files) -> tuple[str, ...]:
    """etcd's, as `homing certs --etcd` tells them."""
    certificate, key, ca = map(str, (files.certificate, files.key, made.ca.certificate))
    return (
        *("--cert-file", certificate, "--key-file", key),
        *("--client-cert-auth", "--trusted-ca-file", ca),
        *("--peer-cert-file", certificate, "--peer-key-file", key),
        *("--peer-client-cert-auth", "--peer-trusted-ca-file", ca),
        *("--peer-cert-allowed-cn", MEMBER_NAME),
    )


def context(made: RegistryCertificates) -> ssl.SSLContext:
    """What a client of the farm's goes by."""
    one = ssl.create_default_context(cafile=str(made.ca.certificate))
    one.load_cert_chain(made.farm.certificate, made.farm.key)
    return one


class Cluster:
    """Its members, each of which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        made = registry_certificates(folder, dict.fromkeys(NAMES, HOSTS))
        self.certificates = made
        self.members = [
            EtcdProcess(folder, name, options(made, files), context(made))
            for name, files in made.members.items()
        ]
        self.initial = ",".join(f"{one.name}={one.peer}" for one in self.members)

    def start(self) -> None:
        for one in self.members:
            one.start(self.initial)
        eventually(lambda: all(one.works() for one in self.members), "the cluster works")

    @property
    def url(self) -> str:
        return "etcd:" + ",".join(one.client for one in self.members)

    @property
    def leader(self) -> EtcdProcess:
        (found,) = [one for one in self.members if one.leads()]
        return found

    def tls(self) -> RegistryTls:
        made = self.certificates
        return load_tls(made.ca.certificate, made.farm.certificate, made.farm.key)

    def client(self, prefix: str, first: EtcdProcess | None = None, **changes: Any) -> EtcdRegistry:
        """A client, which asks `first` first."""
        found: tuple[Member, ...] = members(self.url)
        index = 0 if first is None else self.members.index(first)
        arguments = {"security": self.tls(), **changes}
        return EtcdRegistry(
            found, reactor(), prefix=prefix, jitter=lambda: index / len(found) + 0.01, **arguments
        )


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster until the block ends."""
    with fast_folder() as folder:
        one = Cluster(folder)
        try:
            one.start()
            yield one
        finally:
            for member in one.members:
                member.kill()
