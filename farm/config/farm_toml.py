"""Reads a farm.toml; `load` reports everything that is wrong with it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from homing.farm.config.contradictions import contradictions
from homing.farm.config.converter import converter
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.sections import FarmConfig


def load(path: Path) -> FarmConfig:
    """Read a farm.toml.  Raises InvalidConfig with every fault."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(path, [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InvalidConfig(path, [f"is not UTF-8 text: {error}"]) from error
    except (ValueError, RecursionError) as error:  # more than TOMLDecodeError: numbers too long
        raise InvalidConfig(path, [f"is not TOML: {error}"]) from error
    ours = list(_wrong_shapes(data))
    try:
        config = converter().structure(data, FarmConfig)
    except BaseValidationError as error:
        raise InvalidConfig(path, [*ours, *_messages(error, "")]) from None
    config = attrs.evolve(config, path=path)
    faults = ours or list(contradictions(config))
    if faults:
        raise InvalidConfig(path, faults)
    return config


def _wrong_shapes(data: dict[str, Any]) -> Iterator[str]:
    """Faults that the converter would report misleadingly; takes those values out of `data`."""
    if data.pop("path", None) is not None:  # ours, not the file's
        yield "path: unknown key"
    balancer = data.get("balancer")
    if isinstance(balancer, dict) and not isinstance(balancer.get("listen", []), list):
        yield f"balancer.listen: {balancer.pop('listen')!r} is not a list: write [ ... ]"
    servers = data.get("server", [])
    for number, server in enumerate(servers if isinstance(servers, list) else [], 1):
        key = "proxy_protocol_from"
        if isinstance(server, dict) and not isinstance(server.get(key, []), list):
            yield f"server[{number}].{key}: {server.pop(key)!r} is not a list: write [ ... ]"
    if not isinstance(servers, list):
        yield f"server: {data['server']!r} is not a list of tables: write [[server]]"
        data["server"] = []


def _messages(error: BaseException, place: str) -> Iterator[str]:
    """A message, with its key, for every leaf of cattrs' tree of errors."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            place = f"{place}.{note.name}" if place else note.name
        elif isinstance(note, IterableValidationNote):
            place = f"{place}[{int(note.index) + 1}]"
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _messages(inner, place)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield f"{place}.{key}: unknown key{_like(key, error.cl)}".lstrip(".")
    elif isinstance(error, KeyError):
        yield f"{place or error.args[0]}: is missing"
    elif isinstance(error, TypeError | AttributeError):
        yield f"{place}: is of the wrong kind: {error}"
    else:
        yield f"{place}: {error}"


def _like(key: str, section: type) -> str:
    known = [field.name for field in attrs.fields(section) if field.name != "path"]
    close = difflib.get_close_matches(key, known, 1)
    return f", perhaps {close[0]}?" if close else f"; allowed: {', '.join(known)}"
