"""The keys in the registry, and which kind of value each has.  Pure."""

from __future__ import annotations

import re
from typing import Any

from homing.shared.farm_state import values
from homing.shared.schemes.division import MOST_BITS

FARM = "farm"
MANAGER = "manager"
CALL = "call"
REASSIGN = "reassign"
NAMES = "names"

_SINGLE: dict[str, type] = {
    FARM: values.FarmValue,
    MANAGER: values.ManagerPresence,
    CALL: values.Call,
    REASSIGN: values.Reassign,
    NAMES: values.Names,
}
_FOLDERS: dict[str, type] = {
    "parts": values.PartValue,
    "servers": values.ServerPresence,
    "assignments": values.Assignment,
    "balancers": values.BalancerPresence,
    "wishes": values.Wish,
    "records": values.Record,
    "refusals": values.Refusal,
    "exceptions": values.Exceptions,
}
ROUTING = ("farm", "names", "parts/", "records/", "refusals/", "exceptions/", "wishes/")
"""What the keys that table 130 depends on begin with."""


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_PART = r"[0-9]{7}"
_FORMS = {"parts": _PART, "exceptions": f"{_PART}/{_NAME}/[0-9]{{4}}"}
"""What stands behind a folder, where it is not a name."""


def fault(key: str) -> str | None:
    """What is wrong with a key; None for nothing."""
    folder, _, rest = key.partition("/")
    if kind(key) is None:
        return "no such key is known in this version"
    if rest and not re.fullmatch(_FORMS.get(folder, _NAME), rest):
        return "what follows its folder is not of the form that it must have"
    if folder in _FORMS and int(rest[:7]) >> MOST_BITS:
        return "there is no part of so high a number"
    return None


def kind(key: str) -> Any:
    """The class of a key's value; None for a key of another version."""
    folder, _, rest = key.partition("/")
    return _FOLDERS.get(folder) if rest else _SINGLE.get(key)


def part(number: int) -> str:
    """A part's key."""
    return f"parts/{number:07d}"


def page(part: int, server: str, number: int) -> str:
    """The key of a page of exceptions in a part."""
    return f"exceptions/{part:07d}/{server}/{number:04d}"


def part_of_page(key: str) -> tuple[int, str]:
    """The part and the server of a page of exceptions.  Raises ValueError."""
    _, number, server, _ = key.split("/")
    return int(number), server


def name(key: str) -> str:
    """What stands behind the folder."""
    return key.partition("/")[2]


def server(name: str) -> str:
    """A server's presence."""
    return f"servers/{name}"


def assignment(name: str) -> str:
    """A server's assignment."""
    return f"assignments/{name}"


def balancer(name: str) -> str:
    """A balancer's presence."""
    return f"balancers/{name}"


def wish(name: str) -> str:
    """What people want of a server."""
    return f"wishes/{name}"


def record(name: str) -> str:
    """A server's own record, accepted."""
    return f"records/{name}"


def refusal(name: str) -> str:
    """Why a server is refused."""
    return f"refusals/{name}"
