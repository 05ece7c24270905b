"""The descriptors that homing farm passes to its child processes; one holds the configuration.

It is the configuration in force, not farm.toml: the file may have changed since the farm started,
and a process that is started again must agree with the others on who owns which identifier.  It is
in memory, not a copy on disk: the disk may be full.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

import attrs

from homing.farm.config.sections import FarmConfig
from homing.farm.plan import own_sets

READY_DESCRIPTOR = 3
"""Where a child writes a line each time when it has come so far: `READY`, then `RETIRED`."""
CONFIG_DESCRIPTOR = 4
"""Where it reads the configuration in force."""
LOCK_DESCRIPTOR = 5
"""The lock of the state folder, which is held as long as one of the farm's processes lives."""
FIRST_SOCKET = 6
"""The first of the balancer's listening sockets, in the order of farm.toml."""

READY = b"ready"
"""It takes connections."""
RETIRE = b"retire"
"""On its standard input, and then seconds: take no more connections, end when the last has."""
RETIRED = b"retired"
"""It takes no more connections, has handed over those that waited, and has left the registry."""


class InheritedConfig:
    """The configuration in a memory file that child processes inherit.  Raises InvalidConfig."""

    def __init__(self, config: FarmConfig) -> None:
        self.config = with_lists(config)
        self.descriptor = _in_memory(self.config)

    def replace(self, config: FarmConfig) -> None:
        """Pass `config` to processes started from now on; those already started keep theirs.

        Raises OSError; then nothing has changed.
        """
        fresh = _in_memory(config)
        os.close(self.descriptor)
        self.config, self.descriptor = config, fresh


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
    """Read the configuration that the parent passed."""
    size = os.fstat(descriptor).st_size
    data = b""
    while len(data) < size:  # by position: all children share the file's offset
        data += os.pread(descriptor, size - len(data), len(data))
    os.close(descriptor)
    config: FarmConfig = pickle.loads(data)  # noqa: S301 - our parent's, over our descriptor
    for section in (config, config.farm, config.balancer, config.session_ids, config.tls):
        _complete(section)
    for one in config.server:
        _complete(one)
    return config


def _complete(section: Any) -> None:
    """Give it the keys that this version has, and that of our parent, which may be older, had not.

    Whoever replaces processes by those of a newer version has such a parent.
    """
    for key in attrs.fields(type(section)):
        if not hasattr(section, key.name):
            default: Any = key.default
            made = default.factory() if hasattr(default, "factory") else default
            object.__setattr__(section, key.name, made)
