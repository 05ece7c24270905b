"""What is said to etcd v3's JSON gateway, and what it answers.  Pure.

Keys and values are in base64 there, 64-bit numbers are strings, and what is 0, false or empty is
left out (protocol buffers' JSON).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import attrs

from homing.shared.registry.interface import (
    Item,
    LeaseLost,
    Refused,
    RegistryError,
    Transaction,
    Unavailable,
)

TXN = "/v3/kv/txn"
RANGE = "/v3/kv/range"
GRANT = "/v3/lease/grant"
KEEP_ALIVE = "/v3/lease/keepalive"
REVOKE = "/v3/lease/revoke"
WATCH = "/v3/watch"

_LEASE_NOT_FOUND = "etcdserver: requested lease not found"
_NO_SPACE = "etcdserver: mvcc: database space exceeded"

_REFUSALS = frozenset({3, 6, 7, 9, 12, 16})
"""gRPC codes after which it is of no use to ask again: invalid argument, already exists, permission
denied, failed precondition, unimplemented, unauthenticated."""

_Json = dict[str, Any]


@attrs.frozen
class Page:
    """A part of all keys."""

    revision: int
    """The cluster's, when it was read."""
    items: dict[str, Item]
    last: bytes | None
    """The last key of the page, with the prefix; None: there is no more."""


@attrs.frozen
class News:
    """A message of a watch."""

    is_created: bool
    is_canceled: bool
    """It ends here: what was asked for is compacted, or the member cannot go on."""
    revision: int
    """All changes up to it have been told."""
    puts: dict[str, Item]
    deletes: frozenset[str]


def txn(prefix: str, transaction: Transaction) -> bytes:
    """A transaction's request."""
    compare = [
        {"key": _key(prefix, key), "target": "MOD", "mod_revision": str(revision)}
        for key, revision in transaction.expected.items()
    ]
    lease = str(transaction.lease)
    puts: list[_Json] = [
        {"request_put": {"key": _key(prefix, key), "value": _encoded(value), "lease": lease}}
        for key, value in transaction.puts.items()
    ]
    deletes = [
        {"request_delete_range": {"key": _key(prefix, key)}} for key in sorted(transaction.deletes)
    ]
    return _dump({"compare": compare, "success": puts + deletes})


def page(prefix: str, after: bytes | None, revision: int, limit: int) -> bytes:
    """The request for at most `limit` keys behind `after`, as they were at `revision` (0: now)."""
    start = prefix.encode() if after is None else after + b"\0"
    return _dump(
        {
            "key": _encoded(start),
            "range_end": _encoded(_end(prefix)),
            "revision": str(revision),
            "limit": str(limit),
        }
    )


def probe(prefix: str) -> bytes:
    """A request that only a member answers that can reach the others: a linearizable read."""
    return _dump({"key": _encoded(prefix.encode()), "count_only": True})


def grant(seconds: int) -> bytes:
    """The request for a lease."""
    return _dump({"TTL": str(seconds)})


def lease(lease: int) -> bytes:
    """The request to renew or revoke a lease."""
    return _dump({"ID": str(lease)})


def watch(prefix: str, revision: int) -> bytes:
    """The request for all changes from `revision` on."""
    request = {
        "key": _encoded(prefix.encode()),
        "range_end": _encoded(_end(prefix)),
        "start_revision": str(revision),
        "progress_notify": True,
    }
    return _dump({"create_request": request})


def answer(status: int, body: bytes) -> _Json:
    """The object in an answer.  Raises RegistryError: what etcd says, or that this is not etcd."""
    found: Any
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and (error := found.get("error")):
        raise _error(error, found.get("code"))
    if status in (401, 403, 404, 405):
        raise Refused(f"it answers HTTP status {status}: no etcd v3, or not for us")
    if status != 200:
        raise Unavailable(f"it answers HTTP status {status}")
    if not isinstance(found, dict):
        raise Unavailable("its answer is not that of etcd")
    return found


def committed(found: _Json) -> int | None:
    """The revision at which a transaction happened; None if it did not."""
    return _revision(found) if found.get("succeeded") is True else None


def granted(found: _Json) -> int:
    """The lease.  Raises Unavailable."""
    return _number(found, "ID", least=1)


def check_renewed(found: _Json) -> None:
    """Raises LeaseLost if the answer says that the lease has ended, Unavailable."""
    if _number(_object(found, "result"), "TTL") <= 0:
        raise LeaseLost("the lease has ended")


def revision_of(found: _Json) -> int:
    """The cluster's revision when it answered.  Raises Unavailable."""
    return _revision(found)


def page_of(prefix: str, found: _Json) -> Page:
    """The keys in an answer.  Raises Unavailable."""
    items: dict[str, Item] = {}
    last = None
    for one in _list(found, "kvs"):
        last = _bytes(one, "key")
        items[_without(prefix, last)] = _item(one)
    if found.get("more") is True and last is None:
        raise Unavailable("its answer is not that of etcd: a page of nothing")
    return Page(_revision(found), items, last if found.get("more") is True else None)


def news_of(prefix: str, line: bytes) -> News:
    """A message of a watch.  Raises RegistryError."""
    result = _object(answer(200, line), "result")
    puts: dict[str, Item] = {}
    deletes: set[str] = set()
    events = _list(result, "events")
    revision = 0
    for event in events:
        pair = _object(event, "kv")
        key = _without(prefix, _bytes(pair, "key"))
        item = _item(pair)
        revision = max(revision, item.revision)
        if event.get("type", "PUT") == "DELETE":
            puts.pop(key, None)
            deletes.add(key)
        else:
            deletes.discard(key)
            puts[key] = item
    is_canceled = result.get("canceled") is True
    is_created = result.get("created") is True
    if not events and not is_canceled and not is_created:
        revision = _revision(result)  # progress; with events it may be ahead of them
    return News(is_created, is_canceled, revision, puts, frozenset(deletes))


def _error(error: Any, code: object) -> RegistryError:
    if isinstance(error, dict):  # in a stream
        error, code = error.get("message"), error.get("grpc_code")
    words = str(error)[:200]
    if words == _LEASE_NOT_FOUND:
        return LeaseLost("the lease has ended")
    if code in _REFUSALS or words == _NO_SPACE:
        return Refused(f"it says {words!r}")
    return Unavailable(f"it says {words!r}")


def _end(prefix: str) -> bytes:
    """The first key behind all that begin with `prefix`, whose last byte is less than 255."""
    wire = prefix.encode()
    return wire[:-1] + bytes([wire[-1] + 1])


def _without(prefix: str, key: bytes) -> str:
    """A key without the prefix; it is shown escaped if somebody else has put what is not text."""
    start = prefix.encode()
    if not key.startswith(start):
        raise Unavailable("its answer is not that of etcd: a key that was not asked for")
    return key[len(start) :].decode("utf-8", "backslashreplace")


def _item(pair: _Json) -> Item:
    value = _bytes(pair, "value")
    return Item(value, _number(pair, "mod_revision", least=1), _number(pair, "lease"))


def _revision(found: _Json) -> int:
    return _number(_object(found, "header"), "revision", least=1)


def _number(found: _Json, name: str, least: int = 0) -> int:
    text = found.get(name, "0")
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 20:
        number = int(text)
        if least <= number < 1 << 63:
            return number
    raise Unavailable(f"its answer is not that of etcd: {name}")


def _bytes(found: _Json, name: str) -> bytes:
    try:
        return b64decode(found.get(name, ""), validate=True)
    except (ValueError, TypeError):
        raise Unavailable(f"its answer is not that of etcd: {name}") from None


def _object(found: Mapping[str, Any], name: str) -> _Json:
    value = found.get(name)
    if not isinstance(value, dict):
        raise Unavailable(f"its answer is not that of etcd: {name}")
    return value


def _list(found: _Json, name: str) -> list[_Json]:
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unavailable(f"its answer is not that of etcd: {name}")
    return value


def _key(prefix: str, key: str) -> str:
    return _encoded((prefix + key).encode())


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()


def _dump(request: _Json) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode()
