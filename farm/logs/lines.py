"""Formats of a log line: for people, for programs, and from a child to its parent."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import attrs
from twisted.internet.error import ReactorNotRunning
from twisted.logger import LogEvent, LogLevel, eventAsText

from homing.farm.config.faults import printable

LONGEST_LINE = 131_072
"""Bytes of a line from a child, at most; `for_parent` makes none that is longer."""

_LONGEST_TEXT = 10_000
_LONGEST_VALUE = 400
_MOST_FIELDS = 20
_WIDTH = 8
"""Characters of a process's name that are aligned: as many as "balancer" has."""

_LEVELS = frozenset(level.name for level in LogLevel.iterconstants())
_COLOURS = {"warn": 33, "error": 31, "critical": 31}
_NOT_FIELDS = frozenset(
    ("at", "fields", "process", "said", "isError", "system", "time", "message", "why", "format")
)
_SIMPLE = str, int, float, bool
_FACTORY = ("Starting factory {factory!r}", "Stopping factory {factory!r}")
_PORT = re.compile(r"\(.*Port.* Closed\)|\S+( \(\w+\))* starting on .*")


@attrs.frozen
class Line:
    """An event in words."""

    at: float
    """When it happened, as of `time.time`."""
    level: str
    """Twisted's name for it."""
    text: str
    """With its traceback, if it has one: many lines, then."""
    process: str
    fields: dict[str, Any]
    """The event's other values, if they are null, numbers, strings, true or false."""


def line_of(event: LogEvent, process: str) -> Line | None:
    """The line for `event`, logged by `process` unless the event names another; None for no line.

    There is none for debug events, nor for Twisted's notes on factories, ports and signals.
    """
    level: str = event.get("log_level", LogLevel.info).name
    if level == "debug" or _is_noise(event, level):
        return None
    said: str | None = event.get("said")  # by a child
    text = said or eventAsText(event, includeTimestamp=False, includeSystem=False).strip("\n")
    if not text:
        return None
    at: float = event["at"] if "at" in event else event["log_time"]
    fields = event.get("fields")
    return Line(
        at, level, text, event.get("process", process), _fields(event) if fields is None else fields
    )


def _is_noise(event: LogEvent, level: str) -> bool:
    failure = event.get("log_failure")
    if failure is not None:
        return bool(failure.check(ReactorNotRunning))  # asked to stop twice
    if level != "info":
        return False
    namespace = event.get("log_namespace", "")
    if namespace == "log_legacy":
        return bool(_PORT.fullmatch(event.get("log_text", "")))
    if namespace == "twisted.python.log":  # an application's access log, or what it prints
        return False
    return namespace.startswith("twisted.") or event.get("log_format") in _FACTORY


def _fields(event: LogEvent) -> dict[str, Any]:
    found = {
        key: value[:_LONGEST_VALUE] if isinstance(value, str) else value
        for key, value in event.items()
        if not key.startswith("log_")
        and key not in _NOT_FIELDS
        and (value is None or isinstance(value, _SIMPLE))
    }
    return dict(list(found.items())[:_MOST_FIELDS])


def for_people(line: Line, colours: bool = False) -> str:
    """The local time, the process, the level unless it is info, and the text."""
    head = f"{time.strftime('%H:%M:%S', time.localtime(line.at))} {line.process:<{_WIDTH}}  "
    level = "" if line.level == "info" else f"{line.level}: "
    if level and colours:
        level = f"\x1b[1;{_COLOURS.get(line.level, 0)}m{level}\x1b[0m"
    first, *others = map(printable, line.text.splitlines())
    indent = " " * len(head)
    return "".join([f"{head}{level}{first}\n", *(f"{indent}{other}\n" for other in others)])


def for_machines(line: Line) -> str:
    """One JSON object."""
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    ours = {
        "time": at.replace("+00:00", "Z"),
        "level": line.level,
        "process": line.process,
        "text": line.text,
    }
    facts = {name: _in_json(value) for name, value in line.fields.items() if name not in ours}
    return json.dumps(ours | facts) + "\n"


def _in_json(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    return None if isinstance(value, float) and not isfinite(value) else value


def for_parent(line: Line) -> str:
    """One JSON object for `from_child`."""
    text = line.text
    if len(text) > _LONGEST_TEXT:  # the end of a traceback tells most
        half = _LONGEST_TEXT // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    said = {"at": line.at, "level": line.level, "text": text, "fields": line.fields}
    return json.dumps(said) + "\n"


def from_child(data: bytes) -> tuple[str, dict[str, Any]] | None:
    """The level and the other values of an event that a child logged.

    None for any other line, such as those of the interpreter or of a C library.
    """
    try:
        said = json.loads(data)
        level, text, at, fields = (said[key] for key in ("level", "text", "at", "fields"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    kinds = ((level, str), (text, str), (at, float), (fields, dict))
    if not all(isinstance(value, kind) for value, kind in kinds) or level not in _LEVELS:
        return None
    return level, {"said": text, "at": at, "fields": fields}
