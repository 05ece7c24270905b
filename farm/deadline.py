"""A deadline for code of the user's, which runs in the reactor's thread and could stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from signal import ITIMER_REAL, SIGALRM, setitimer, signal
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def within(seconds: float, function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`function`, broken off by a TimeoutError when it takes longer, in Python or in a system call.

    By a signal, so on the main thread only: elsewhere it may take as long as it likes.
    """

    def too_long(signum: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"took more than {seconds:g} s")

    def broken_off(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        handler = signal(SIGALRM, too_long)
        # Again and again, for a function that goes on after an exception
        timer = setitimer(ITIMER_REAL, seconds, seconds)
        try:
            try:
                return function(*args, **kwargs)
            finally:
                setitimer(ITIMER_REAL, 0)
        finally:  # the last signal may have come in the one above
            setitimer(ITIMER_REAL, *timer)
            signal(SIGALRM, handler)

    return broken_off
