"""Values as JSON, with their version; strict: what is not understood is not guessed at.  Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

import cattrs

from homing.shared.farm_state.values import ServerState
from homing.shared.id_sets import IdSet, from_data, to_data
from homing.shared.moves import PartStep, Way
from homing.shared.registry.interface import LARGEST_VALUE

VERSION = 1

_T = TypeVar("_T")


def encode(value: object) -> bytes:
    """The JSON of a value."""
    data = {"v": VERSION, **_CONVERTER.unstructure(value)}
    return json.dumps(data, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def decode(kind: type[_T], data: bytes) -> _T:
    """The value of `kind` that `data` is.  Raises ValueError, in few words."""
    if len(data) > LARGEST_VALUE:
        raise ValueError(f"it has {len(data)} bytes, more than {LARGEST_VALUE}")
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    version = plain.pop("v", None) if isinstance(plain, dict) else None
    if version != VERSION:
        raise ValueError(f"its version is {version!r:.20}; this is version {VERSION}")
    try:
        return _CONVERTER.structure(plain, kind)
    except Exception as error:  # cattrs raises many kinds
        raise ValueError(f"it is no {kind.__name__}: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _converter() -> cattrs.Converter:
    strict = cattrs.Converter(omit_if_default=True)
    for kind in (str, int, float, bool):
        strict.register_structure_hook(kind, _strictly(kind))
    for choice in (PartStep, Way, ServerState):  # which would be taken for strings
        strict.register_structure_hook(choice, lambda value, kind: kind(value))
    strict.register_structure_hook(IdSet, lambda value, _: from_data(value))
    strict.register_unstructure_hook_func(
        lambda kind: kind in IdSet.__args__,
        to_data,
    )
    return strict


def _strictly(kind: Any) -> Callable[[Any, Any], object]:
    def structure(value: Any, _: object) -> object:
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{value!r:.50} is no {kind.__name__}")
        if kind is str:
            value.encode()  # half a surrogate pair could be written nowhere
        if kind is float and not isfinite(value):
            raise ValueError("a number is not finite")
        return kind(value)

    return structure


_CONVERTER = _converter()
