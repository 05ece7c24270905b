"""What a line of the log says, and what it leaves out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ReactorNotRunning
from twisted.logger import LogEvent, Logger, LogLevel

from homing.farm.logs.lines import (
    LONGEST_LINE,
    Line,
    for_machines,
    for_parent,
    for_people,
    from_child,
    line_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def logged(
    level: str,
    words: str,
    namespace: str = "homing.server.tls.transport",
    failure: Any = None,
    **values: Any,
) -> LogEvent:
    """The event of one call of a logger."""
    events: list[LogEvent] = []
    log = Logger(namespace, observer=events.append)  # type: ignore[arg-type]
    if failure is not None:
        try:
            raise failure
        except type(failure):
            log.failure(words, **values)
    else:
        log.emit(LogLevel.lookupByName(level), words, **values)
    (event,) = events
    return event


def line(event: LogEvent) -> Line:
    found = line_of(event, "s1")
    assert found is not None
    return found


def people(event: LogEvent) -> str:
    return for_people(line(event))


def test_people_read_the_time_the_process_and_what_happened() -> None:
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d s1        7 have come\n",
        people(logged("info", "{count} have come", count=7)),
    )


@pytest.mark.parametrize("level", ["warn", "error", "critical"])
def test_the_level_is_there_where_it_is_more_than_news(level: str) -> None:
    assert people(logged(level, "so it is")).endswith(f" s1        {level}: so it is\n")


def test_colours_are_only_for_the_level() -> None:
    shown = for_people(line(logged("warn", "so it is")), colours=True)
    assert shown.endswith("\x1b[1;33mwarn: \x1b[0mso it is\n")


def test_a_traceback_stays_with_its_line() -> None:
    first, *others = people(logged("", "it broke", failure=ZeroDivisionError("zero"))).splitlines()
    assert first.endswith("critical: it broke")
    assert all(other.startswith(" " * 19) for other in others)
    assert others[-1].strip().endswith("ZeroDivisionError: zero")


def test_what_clients_send_does_not_speak_to_the_terminal() -> None:
    assert people(logged("info", "{it}", it="a\x1b[2Jb\x07\u202e")).endswith(
        "a\\x1b[2Jb\\x07\\u202e\n"
    )


@pytest.mark.parametrize(
    ("words", "namespace", "values"),
    [
        ("Received SIGTERM, shutting down.", "twisted.internet.base", {}),
        ("Main loop terminated.", "twisted.internet.base", {}),
        ("Starting factory {factory!r}", "an_app.Factory", {"factory": 1}),
        ("Scheduling retry {attempt}", "twisted.application._client_service", {"attempt": 1}),
        ("{log_text}", "log_legacy", {"log_text": "(TCP Port 443 Closed)"}),
        ("{log_text}", "log_legacy", {"log_text": "(UNIX Port '/s1.sock' Closed)"}),
        ("{log_text}", "log_legacy", {"log_text": "_Nobody starting on 18443"}),
        ("{log_text}", "log_legacy", {"log_text": "Site (TLS) starting on 18446"}),
        ("{log_text}", "log_legacy", {"log_text": "_Site (TLS) (ProxiedFactory) starting on 1"}),
        ("{log_text}", "log_legacy", {"log_text": "ReceiverFactory starting on '/s1.sock'"}),
    ],
)
def test_twisteds_own_noise_is_left_out(words: str, namespace: str, values: dict[str, Any]) -> None:
    assert line_of(logged("info", words, namespace, **values), "s1") is None


@pytest.mark.parametrize(
    "event",
    [
        logged("warn", "a warning", "twisted.internet.base"),
        logged("", "it broke", "twisted.web.http", failure=ValueError("x")),
        logged("info", "an application speaks", "an_app"),
        logged("info", "{log_text}", "log_legacy", log_text="an old application speaks"),
        logged("info", "{log_io}", "twisted.python.log", log_io="an access log"),
        logged("info", "{log_io}", "stdout", log_io="print"),
    ],
    ids=lambda event: event["log_namespace"],
)
def test_what_goes_wrong_and_what_applications_say_is_kept(event: LogEvent) -> None:
    assert line_of(event, "s1") is not None


def test_debugging_and_being_asked_to_stop_twice_are_left_out() -> None:
    assert line_of(logged("debug", "details"), "s1") is None
    assert line_of(logged("", "", failure=ReactorNotRunning()), "s1") is None


def test_machines_get_the_facts_of_an_event_beside_its_words() -> None:
    event = logged("info", "{a} {b}", a=1, b="two", c=None, d=True, e=object())
    event |= {"level": "not ours", "time": 3, "log_time": 1_700_000_000.25}
    assert json.loads(for_machines(line(event))) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "process": "s1",
        "text": "1 two",
        "a": 1,
        "b": "two",
        "c": None,
        "d": True,
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_machines_read_is_json_whatever_the_number(number: float) -> None:
    first = line(logged("info", "{a}", a=number))
    heard = from_child(for_parent(first).encode())
    assert heard is not None
    for one in (first, line(logged("info", "{said}", **heard[1]))):
        assert json.loads(for_machines(one), parse_constant=pytest.fail)["a"] is None


@given(st.text(min_size=1), st.dictionaries(st.text(min_size=1), st.text() | st.integers()))
def test_a_child_tells_its_parent_all_of_it_in_one_line(text: str, values: dict[str, Any]) -> None:
    event: LogEvent = {
        **{f"x{key}": value for key, value in values.items()},
        "log_level": LogLevel.error,
        "log_time": 5.0,
        "log_namespace": "server",
        "log_format": "{words}",
        "words": text,
    }
    one = line_of(event, "s1")
    if one is None:
        assert not text.strip("\n")
        return
    data = for_parent(one).encode()
    assert data.count(b"\n") == 1
    assert from_child(data) == ("error", {"said": one.text, "at": 5.0, "fields": one.fields})


def test_no_line_of_a_child_is_longer_than_its_parent_reads() -> None:
    many = {f"field{number}": 100_000 * "\u2603" for number in range(100)}
    event = logged("info", "{first}{field0}{last}", first="A", last="Z", **many)
    data = for_parent(line(event)).encode()
    assert len(data) < LONGEST_LINE
    found = from_child(data)
    assert found is not None
    assert (found[1]["said"][0], found[1]["said"][-1]) == ("A", "Z")


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_a_child_does_not_log_is_no_event(data: bytes) -> None:
    assert from_child(data) is None


def test_a_child_that_invents_a_level_is_not_believed() -> None:
    said = {"at": 1.0, "level": "fatal", "text": "x", "fields": {}}
    assert from_child(json.dumps(said | {"level": "info"}).encode()) is not None
    for wrong in (said, said | {"level": []}, said | {"level": "info", "at": "x"}):
        assert from_child(json.dumps(wrong).encode()) is None
