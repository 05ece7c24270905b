"""ID sets from plain data, in the words of farm.toml's ``ids``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.kinds import IdSet
from homing.shared.id_sets.lists import IdList
from homing.shared.id_sets.ranges import IdRange
from homing.shared.identifiers import LENGTH

_FORMS = (
    "{ prefix = HEX }, { range = [HEX, HEX] }, { mask = HEX, value = HEX }, { list = [HEX, ...] } "
    "or { list_file = PATH }"
)


def from_data(data: Mapping[str, Any]) -> IdSet:
    """The set that `data` describes.  Raises ValueError: what is wrong and what is allowed.

    A `list_file` is not read here: whoever knows its folder does.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"expected {_FORMS}, got {data!r}")
    keys = set(data)
    if keys == {"prefix"}:
        return IdRange.of_prefix(parse_hex(data["prefix"]))
    if keys == {"range"}:
        ends = data["range"]
        if not isinstance(ends, list | tuple) or len(ends) != 2:
            raise ValueError("range takes its two ends, [HEX, HEX]")
        return IdRange(parse_hex(ends[0]), parse_hex(ends[1]))
    if keys == {"mask", "value"}:
        return MandatoryBits(parse_hex(data["mask"]), parse_hex(data["value"]))
    if keys == {"list"}:
        members = data["list"]
        if not isinstance(members, list | tuple):
            raise ValueError("list takes identifiers, [HEX, ...]")
        return IdList(parse_hex(member) for member in members)
    raise ValueError(f"expected {_FORMS}, got {sorted(map(str, keys)) or 'nothing'}")


def to_data(id_set: IdSet) -> dict[str, Any]:
    """What `from_data` makes the same set of."""
    match id_set:
        case IdRange(first=first, last=last):
            return {"range": [first.hex(), last.hex()]}
        case MandatoryBits(mask=mask, value=value):
            return {"mask": mask.hex(), "value": value.hex()}
        case IdList(members=members):
            return {"list": [member.hex() for member in members]}


def parse_hex(text: object) -> bytes:
    """The 1 to 32 bytes that `text` writes in hex.  Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a string of hex digits")
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{text!r} is not hex: pairs of the digits 0-9 and a-f") from None
    if not 1 <= len(value) <= LENGTH:
        raise ValueError(f"{text!r} is {len(value)} bytes long; identifiers have 1 to {LENGTH}")
    return value
