"""Import what a user names as "package.module:attribute": an application, or a function."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path
from typing import Any

from homing.shared.errors import HomingError


def named(name: str, allowed: str) -> Any:
    """The attribute that `name` names; its module may lie in the current folder.

    Raises HomingError, which says what is wrong and what is `allowed`.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise HomingError(f"{name!r}: expected {allowed}")
    here = str(Path.cwd())
    if here not in sys.path:  # commands installed by pip do not look where they are called
        sys.path.insert(0, here)
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:
        raise HomingError(f"{name!r}: {type(error).__name__}: {error}") from error
