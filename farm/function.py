"""The user's own function of the scheme ``function``: loaded, and tried before it is trusted."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes

from shared.errors import HomingError
from shared.identifiers import KEY_NAME_LENGTH
from shared.schemes.function import UserFunction

_PATIENCE = 3.0
_SAMPLES = 8


def load_function(name: str, report: Callable[[str], None]) -> UserFunction:
    """The function that ``package.module:callable`` names.

    One that blocks is reported, and replaced by one that knows nobody.  Raises HomingError when
    there is no such function.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise HomingError(f"session_ids.function: {name!r} is not package.module:callable")
    here = str(Path.cwd())
    if here not in sys.path:  # commands installed by pip do not look where they are called
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise HomingError(
            f"session_ids.function: {name!r}: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise HomingError(f"session_ids.function: {name!r} cannot be called")
    function: UserFunction = found
    if _blocks(function):
        report(f"blocks for more than {_PATIENCE:g} s: it is not used")
        return lambda identifier: None
    return function


def _blocks(function: UserFunction) -> bool:
    """Whether a few calls take too long; a thread that never ends dies with the process."""

    def call() -> None:
        for _ in range(_SAMPLES):
            with suppress(Exception):  # reported when it happens to an identifier
                function(token_bytes(KEY_NAME_LENGTH))

    trial = threading.Thread(target=call, daemon=True)
    trial.start()
    trial.join(_PATIENCE)
    return trial.is_alive()
