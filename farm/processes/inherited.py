"""What homing-farm hands to each process that it starts: descriptors, and in one the configuration.

The configuration in force, not the file: who changes that, and then loses a process, would get a
new one that does not agree with the others on who owns which identifier.  Nor a copy on disk, which
may be full.
"""

from __future__ import annotations

import os
import pickle

import attrs

from homing.farm.config.sections import FarmConfig
from homing.farm.plan import own_sets

READY_DESCRIPTOR = 3
"""Where a child writes a line, once it is ready."""
CONFIG_DESCRIPTOR = 4
"""Where it reads the configuration in force."""
LOCK_DESCRIPTOR = 5
"""The lock of the state folder, which is held as long as one of the farm's processes lives."""
FIRST_SOCKET = 6
"""The first of the balancer's listening sockets, in the order of farm.toml."""


class InheritedConfig:
    """What processes are started with, in memory that they inherit.  Raises InvalidConfig."""

    def __init__(self, config: FarmConfig) -> None:
        self.config = with_lists(config)
        self.descriptor = _in_memory(self.config)

    def replace(self, config: FarmConfig) -> None:
        """Processes started from now on get `config`; those being started keep theirs."""
        os.close(self.descriptor)
        self.config = config
        self.descriptor = _in_memory(config)


def with_lists(config: FarmConfig) -> FarmConfig:
    """`config` with the content of list files in their place.  Raises InvalidConfig."""
    sets = own_sets(config)
    servers = [
        attrs.evolve(one, ids=attrs.evolve(one.ids, sets=sets[one.name])) if one.ids else one
        for one in config.server
    ]
    return attrs.evolve(config, server=servers)


def _in_memory(config: FarmConfig) -> int:
    descriptor = os.memfd_create("farm.toml")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        pickle.dump(config, file)
    return descriptor


def inherited_config(descriptor: int) -> FarmConfig:
    """What the parent wrote there."""
    size = os.fstat(descriptor).st_size
    data = b""
    while len(data) < size:  # by position: siblings share the file's offset
        data += os.pread(descriptor, size - len(data), len(data))
    os.close(descriptor)
    config: FarmConfig = pickle.loads(data)  # noqa: S301 - our parent's, over our descriptor
    return config
