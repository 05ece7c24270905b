"""Converts TOML data to the sections of farm.toml, strictly; every fault is found, with its key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from homing.farm.config.values import Address, Endpoint, Ids, ListFile, Network, Percent
from homing.shared.id_sets import IdSet


def converter() -> cattrs.Converter:
    """Converts plain data to the classes of `homing.farm.config.sections`.

    It coerces nothing, refuses unknown keys, and applies the check of ``Annotated[kind, check]``.
    """
    strict = cattrs.Converter(forbid_extra_keys=True)
    for kind, words in (
        (str, "a string"),
        (int, "a whole number"),
        (float, "a number"),
        (bool, "true or false"),
    ):
        strict.register_structure_hook(kind, _strictly(kind, words))
    strict.register_structure_hook_factory(attrs.has, lambda kind: _table(strict, kind))
    strict.register_structure_hook(Ids, lambda value, _: _ids(strict, value))
    strict.register_structure_hook(_OneSet, lambda value, _: _OneSet(Ids.parse_one(value)))
    for parsed in (Percent, Address, Endpoint, Network):
        strict.register_structure_hook(parsed, lambda value, cls: cls.parse(value))
    strict.register_structure_hook_factory(_is_annotated, lambda kind: _checked(strict, kind))
    return strict


@attrs.frozen
class _OneSet:
    """One of several `ids`: its own type, so that a fault in it is reported with its number."""

    one: IdSet | ListFile


def _ids(strict: cattrs.Converter, value: object) -> Ids:
    if not isinstance(value, list):
        return Ids((Ids.parse_one(value),))
    if not value:
        raise ValueError("the list is empty: at least one set is needed")
    return Ids(tuple(each.one for each in strict.structure(value, list[_OneSet])), in_a_list=True)


def _table(strict: cattrs.Converter, kind: Any) -> Callable[[Any, Any], object]:
    inner = make_dict_structure_fn(kind, strict, _cattrs_forbid_extra_keys=True)

    def structure(value: object, _: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not a table, such as {_heading(kind)}")
        return inner(value, kind)

    return structure


def _heading(kind: type) -> str:
    """The heading of a table in farm.toml: [session_ids] for SessionIdsSection."""
    words = re.findall("[A-Z]+(?=[A-Z][a-z]|$)|[A-Z][a-z]+", kind.__name__.removesuffix("Section"))
    name = "_".join(words).lower()
    return "[[server]]" if name == "server" else f"[{name}]"


def _is_annotated(kind: Any) -> bool:
    return get_origin(kind) is Annotated


def _strictly(kind: Any, words: str) -> Callable[[Any, Any], object]:
    def structure(value: Any, _: object) -> object:
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{value!r} is not {words}")
        return kind(value)

    return structure


def _checked(strict: cattrs.Converter, kind: Any) -> Callable[[Any, Any], object]:
    plain, check = get_args(kind)

    def structure(value: object, _: object) -> object:
        result: object = check(strict.structure(value, plain))
        return result

    return structure
