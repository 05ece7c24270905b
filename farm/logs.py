"""How a supervised process logs: a line an event, without the time, which its parent adds."""

from __future__ import annotations

import sys

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import provider


def _line(event: LogEvent) -> str | None:
    level = event.get("log_level", LogLevel.info)
    if level is LogLevel.debug:
        return None
    text = formatEvent(event)
    if not text:
        text = formatEventAsClassicLogText(event) or ""
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}"
    prefix = "" if level is LogLevel.info else f"{level.name}: "
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


@provider(ILogObserver)
def bare() -> FileLogObserver:
    """The observer for twistd's ``--logger``."""
    return FileLogObserver(sys.stdout, _line)
