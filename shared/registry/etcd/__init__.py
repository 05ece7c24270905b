"""The registry over etcd v3, for farms of several machines (`docs/registry-etcd.md`)."""

from homing.shared.registry.etcd.registry import EtcdRegistry
from homing.shared.registry.etcd.tls import RegistryTls, load_tls
from homing.shared.registry.etcd.url import Member, members

__all__ = ["EtcdRegistry", "Member", "RegistryTls", "load_tls", "members"]
