"""Import what a user names as "package.module:attribute": an application, or a function."""

from __future__ import annotations

import pkgutil
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from homing.shared.errors import HomingError


def named(name: str, allowed: str) -> Any:
    """The attribute that `name` names; its module may lie in the current folder.

    Raises HomingError, which says what is wrong and what is `allowed`.
    """
    _module(name, allowed)
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:
        raise HomingError(f"{name!r}: {type(error).__name__}: {error}") from error


def findable(name: str, allowed: str) -> None:
    """Raises HomingError when there is no package that `name` can lie in; runs no code of it."""
    package = _module(name, allowed).partition(".")[0]
    with suppress(ValueError):  # an odd name, of which `named` says what is wrong
        if find_spec(package) is None:
            raise HomingError(f"{name!r}: ModuleNotFoundError: No module named {package!r}")


def _module(name: str, allowed: str) -> str:
    """The module that `name` names; it is also looked for in the current folder from now on."""
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise HomingError(f"{name!r}: expected {allowed}")
    here = str(Path.cwd())
    if here not in sys.path:  # commands installed by pip do not look where they are called
        sys.path.insert(0, here)
    return module
