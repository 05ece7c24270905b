"""The form in which a balancer saves what it routes by.  Pure.

A line of JSON with version, revision and number of keys; then a line a key: name, revision, value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.registry.interface import LARGEST_VALUE, LONGEST_KEY, Batch, Item

VERSION = 1
LARGEST = 1 << 26
"""Bytes of the whole, at most."""


def to_bytes(revision: int, items: Mapping[str, Item]) -> bytes:
    """The saved form of the routing keys at a revision.  Raises HomingError if it is too large."""
    lines, size = [], 0
    for line in _lines(revision, items):
        lines.append(line)
        size += len(line)
        if size > LARGEST:
            raise HomingError(f"there are more than {LARGEST} bytes of it")
    return b"".join(lines)


def _lines(revision: int, items: Mapping[str, Item]) -> Iterator[bytes]:
    yield _line({"v": VERSION, "revision": revision, "keys": len(items)})
    for key, item in items.items():
        yield _line([key, item.revision, item.value.decode("latin-1")])


def _line(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def from_bytes(data: bytes) -> Batch:
    """All the keys that were saved.  Raises ValueError, in few words."""
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    first, *rest = data.split(b"\n")
    head = _read(first)
    if not isinstance(head, dict) or head.get("v") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    revision, count = head.get("revision"), head.get("keys")
    if type(revision) is not int or count != len(rest) - 1 or rest[-1]:
        raise ValueError("it is not whole")
    return Batch(revision, dict(map(_item, rest[:-1])), is_whole=True)


def _item(line: bytes) -> tuple[str, Item]:
    match _read(line):
        case [str(key), int(revision), str(value)] if (
            key.startswith(keys.ROUTING) and len(key) <= LONGEST_KEY and len(value) <= LARGEST_VALUE
        ):
            return key, Item(value.encode("latin-1"), revision)
    raise ValueError("a line of it is no key with its value")


def _read(line: bytes) -> object:
    try:
        read: object = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("a line of it is not JSON") from None
    return read
