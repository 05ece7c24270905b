"""The user's own function of the scheme ``function``: loaded, and tried before it is trusted."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from secrets import randbelow, token_bytes

import attrs

from homing.farm.deadline import within
from homing.shared.errors import HomingError, NoFreeIdentifier
from homing.shared.identifiers import KEY_NAME_LENGTH
from homing.shared.schemes.function import FunctionScheme, UserFunction, in_words

_PATIENCE = 10.0
_LONGEST_CALL = 0.25
_SAMPLES = 32
_LONG_ENOUGH = 2.0
_RETURNED = 77
"""The status of a trial that came to its end; nothing else that ends a process means that."""
_TRIAL = "import sys; from farm.function import try_out; try_out(*sys.argv[1:])"


def load_function(name: str, servers: Sequence[str], report: Callable[[str], None]) -> UserFunction:
    """The function that ``package.module:callable`` names.

    One that blocks or dies is reported, and replaced by one that knows nobody.  Raises HomingError
    when there is no such function.
    """
    here = str(Path.cwd())
    if here not in sys.path:  # commands installed by pip do not look where they are called
        sys.path.insert(0, here)
    fault = _fault_on_trial(name, servers)
    if fault is not None:
        report(f"{fault}: it is not used")
        return lambda identifier: None
    try:
        function = _found(name)
    except Exception as error:
        raise HomingError(f"session_ids.function: {name!r}: {in_words(error)}") from error
    offer = getattr(function, "draw", None)
    return _InTime(within(_LONGEST_CALL, function), offer and within(_LONGEST_CALL, offer))


@attrs.frozen
class _InTime:
    """A user's function, and its method if it has one, that cannot stop the reactor."""

    _owner: UserFunction
    draw: Callable[[str], bytes] | None

    def __call__(self, identifier: bytes) -> str | None:
        return self._owner(identifier)


def _found(name: str) -> UserFunction:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError("is not package.module:callable")
    function: UserFunction = getattr(importlib.import_module(module), attribute)
    if not callable(function):
        raise TypeError("cannot be called")
    return function


def _fault_on_trial(name: str, servers: Sequence[str]) -> str | None:
    """What is wrong with it, tried in a process of its own: a thread could not be ended."""
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _TRIAL, name, *servers],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONDONTWRITEBYTECODE": "1",  # who only looks leaves nothing behind
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"blocks for more than {_PATIENCE:g} s"
    if done.returncode != _RETURNED:
        return f"ends the process that calls it, with status {done.returncode}"
    return None


def try_out(name: str, *servers: str) -> None:
    """Import it, call it some times, draw by it for `servers`; ends the process."""
    with suppress(Exception):  # what it raises is said when it happens to an identifier
        function = _found(name)
        scheme = FunctionScheme(function, servers, lambda words: None, time.monotonic)
        for _ in range(_SAMPLES):
            scheme.owner(token_bytes(KEY_NAME_LENGTH))
        end = time.monotonic() + _LONG_ENOUGH
        for server in takewhile(lambda _: time.monotonic() < end, servers):
            with suppress(NoFreeIdentifier):  # said when the server draws
                scheme.draw(server, randbelow, lambda identifier: False, KEY_NAME_LENGTH)
    os._exit(_RETURNED)  # at once, whatever threads it has begun
