"""The schemes of farm.toml, put together with the farm's secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from secrets import token_bytes

from twisted.logger import Logger

from homing.balancer.allocation import Need, allocate
from homing.balancer.even_sets import allocate_bits, allocate_lists
from homing.farm.config.farm_toml import FarmConfig
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.keys import Keys
from homing.farm.function import load_function
from homing.server.identifiers.nonces import Nonces
from homing.shared.errors import HomingError
from homing.shared.id_sets import IdSet
from homing.shared.record import Record
from homing.shared.schemes import (
    FunctionScheme,
    HashScheme,
    KeyedScheme,
    Scheme,
    SeededScheme,
    Share,
)

_log = Logger()


def assign(
    config: FarmConfig,
    needs: Sequence[Need],
    occupied: Sequence[IdSet],
    drawing: str | None,
    knows: Collection[str],
    keys: Keys,
) -> dict[str, Record]:
    """A record for every owner in `needs`, by the scheme of `config`.

    `drawing` is the server whose record is to be drawn from, None in a balancer; it knows the
    identifiers of the owners in `knows`: of what is secret in `keys`, only what it needs is read.
    Raises HomingError, AllocationError among them.
    """
    section = config.session_ids
    names = [need.name for need in needs]
    if section.scheme == "range":
        return allocate(needs, section.spare.part, occupied)
    if section.scheme == "bits":
        return allocate_bits(names, occupied)
    if section.scheme == "list":
        return allocate_lists(needs, 2 * section.cache, occupied)
    scheme = _by_function(config, names, drawing, knows, keys)
    return {name: Record(share=Share(scheme, name, tuple(occupied))) for name in names}


def _by_function(
    config: FarmConfig,
    names: Sequence[str],
    drawing: str | None,
    knows: Collection[str],
    keys: Keys,
) -> Scheme:
    section = config.session_ids
    if section.scheme == "hash":
        return HashScheme(names)
    if section.scheme == "seeded":
        known = names if drawing is None else knows
        return SeededScheme({name: keys.seed(name) for name in names if name in known})
    if section.scheme == "keyed":
        return _keyed(config, names, keys, drawing)
    assert section.function is not None
    report = _once_each(f"session_ids.function {section.function}")
    try:
        function = load_function(section.function, names, report)
    except HomingError as error:
        raise InvalidConfig(config.path, [str(error)]) from error
    return FunctionScheme(function, names, report, time.monotonic)


def _keyed(
    config: FarmConfig, names: Sequence[str], keys: Keys, drawing: str | None
) -> KeyedScheme:
    ciphers = keys.farm_ciphers()
    if drawing is None:
        return KeyedScheme(names, ciphers)
    # Counted per key: the name of the file follows from the key, but does not tell it
    key = sha256(b"homing nonces" + ciphers[0].encrypt(bytes(16))).hexdigest()[:8]
    path = keys.nonce_path(f"{drawing}-{key}")

    def warn(words: str) -> None:
        _log.warn("{words}", words=words)

    # Servers of a group that has one record count under one number: a byte tells them apart
    place = [server.name for server in config.server].index(drawing) % 256
    mark = b"" if drawing in names else bytes([place])

    def salt(length: int) -> bytes:
        return mark + token_bytes(length - len(mark))

    return KeyedScheme(names, ciphers, Nonces(path, time.time, salt, warn))


def _once_each(what: str) -> Callable[[str], None]:
    """A reporter that logs every fault once: a function may be called for each connection."""
    said: set[str] = set()

    def report(words: str) -> None:
        if words not in said and len(said) < 100:
            said.add(words)
            _log.error("{what} {words}", what=what, words=words)

    return report
