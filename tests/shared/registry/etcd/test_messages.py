"""What etcd answers is believed only if it is what etcd answers."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homing.shared.registry.etcd import messages
from homing.shared.registry.interface import (
    Item,
    LeaseLost,
    Refused,
    RegistryError,
    Transaction,
    Unavailable,
)

HEADER = {"revision": "9", "cluster_id": "1"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("result header events kv kvs key value error more TTL ID".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def b64(text: str | bytes) -> str:
    return b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def pair(key: str, revision: int, value: bytes = b"", **more: str) -> dict[str, Any]:
    return {"key": b64(key), "mod_revision": str(revision), "value": b64(value), **more}


def news(**result: Any) -> messages.News:
    line = json.dumps({"result": {"header": HEADER, **result}}).encode()
    return messages.news_of("homing/", line)


def test_a_transaction_is_said_as_etcd_wants_it() -> None:
    said = json.loads(messages.txn("h/", Transaction({"a": 7, "b": 0}, {"b": b"\0"}, lease=5)))
    assert said["compare"][0] == {"key": b64("h/a"), "target": "MOD", "mod_revision": "7"}
    put = {"key": b64("h/b"), "value": b64(b"\0"), "lease": "5"}
    assert said["success"] == [{"request_put": put}]


def test_the_next_page_begins_behind_the_last_key_and_ends_with_the_prefix() -> None:
    said = json.loads(messages.page("h/", b"h/a", 3, 10))
    assert (said["key"], said["range_end"]) == (b64(b"h/a\0"), b64("h0"))


def test_of_changes_that_come_together_the_last_counts() -> None:
    events = [
        {"kv": pair("homing/a", 3, b"1")},
        {"type": "DELETE", "kv": {"key": b64("homing/a"), "mod_revision": "4"}},
        {"type": "DELETE", "kv": {"key": b64("homing/b"), "mod_revision": "4"}},
        {"type": "PUT", "kv": pair("homing/b", 5, b"2", lease="8")},
    ]
    found = news(events=events)
    assert found.puts == {"b": Item(b"2", 5, 8)}
    assert found.deletes == {"a"}
    assert found.revision == 5, "not the cluster's, which may be ahead"


def test_progress_is_believed_and_what_begins_a_watch_is_none() -> None:
    assert news().revision == 9
    assert news(created=True).revision == 0
    assert news(canceled=True, compact_revision="3").is_canceled


def test_a_key_that_is_not_text_harms_nobody() -> None:
    key = b64(b"homing/\xff")
    found = news(events=[{"kv": {"key": key, "mod_revision": "3"}}])
    assert list(found.puts) == ["\\xff"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"error": "etcdserver: requested lease not found", "code": 5}, LeaseLost),
        (503, {"error": "etcdserver: no leader", "code": 14}, Unavailable),
        (503, {"error": "etcdserver: request timed out", "code": 14}, Unavailable),
        (429, {"error": "etcdserver: too many requests", "code": 8}, Unavailable),
        (429, {"error": "etcdserver: mvcc: database space exceeded", "code": 8}, Refused),
        (400, {"error": "etcdserver: request is too large", "code": 3}, Refused),
        (403, {"error": "etcdserver: permission denied", "code": 7}, Refused),
        (401, {"error": "etcdserver: invalid auth token", "code": 16}, Refused),
        (200, {"error": {"message": "no leader", "grpc_code": 14}}, Unavailable),
        (200, {"error": {"message": "permission denied", "grpc_code": 7}}, Refused),
        (404, "Not Found", Refused),
        (500, "", Unavailable),
        (302, {}, Unavailable),
        (200, [], Unavailable),
    ],
)
def test_what_etcd_says_no_to_is_told_apart(
    status: int, body: object, kind: type[RegistryError]
) -> None:
    with pytest.raises(RegistryError) as told:
        messages.answer(status, json.dumps(body).encode())
    assert type(told.value) is kind


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"NaN"])
def test_what_is_no_json_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unavailable):
        messages.answer(200, body)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": b64("other/a")},
        {"key": "!"},
        {"key": 5},
        {"key": None},
        {"mod_revision": "0"},
        {"mod_revision": 3},
        {"mod_revision": "-3"},
        {"mod_revision": "\u0663"},
        {"mod_revision": "9" * 5000},
        {"mod_revision": str(1 << 63)},
        {"value": "\u00e9"},
        {"lease": []},
    ],
)
def test_an_item_that_is_malformed_is_not_believed(changes: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        messages.page_of("homing/", {"header": HEADER, "kvs": [pair("homing/a", 3) | changes]})


def test_a_page_of_nothing_with_more_behind_it_does_not_go_on_for_ever() -> None:
    with pytest.raises(Unavailable):
        messages.page_of("homing/", {"header": HEADER, "more": True})


def test_a_lease_without_time_has_ended() -> None:
    messages.check_renewed({"result": {"TTL": "5"}})
    with pytest.raises(LeaseLost):
        messages.check_renewed({"result": {"ID": "5"}})


@given(JSON)
@example({"result": {"header": {"revision": "1"}, "events": [{}]}})
def test_whatever_comes_the_fault_is_one_that_callers_expect(found: object) -> None:
    line = json.dumps(found).encode()

    def page() -> None:
        messages.page_of("h/", messages.answer(200, line))

    def renewed() -> None:
        messages.check_renewed(messages.answer(200, line))

    for read in (page, renewed, lambda: messages.news_of("h/", line)):
        with suppress(RegistryError):
            read()
