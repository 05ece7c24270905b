"""What every registry does, whichever keeps it: the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from twisted.internet.defer import Deferred, gatherResults

from homing.shared.registry.interface import (
    LARGEST_VALUE,
    LONGEST_KEY,
    MOST_OPERATIONS,
    LeaseLost,
    Refused,
    Registry,
    Transaction,
    Unavailable,
)
from tests.reactor import call, eventually
from tests.shared.registry.rig import Client, Rig

Make = Callable[[], Client]


def test_what_one_client_puts_all_others_read(client: Make) -> None:
    one, other = client(), client()
    assert other.values() == {}
    revision = one.put("parts/0000001", b"\x00\xff")
    batch = other.read()
    assert batch.puts["parts/0000001"].value == b"\x00\xff"
    assert batch.puts["parts/0000001"].revision == revision
    assert batch.revision >= revision


def test_revisions_grow_with_every_change_and_only_then(client: Make) -> None:
    one = client()
    first = one.put("a", b"1")
    second = one.put("b", b"1")
    third = one.put("a", b"2", first)
    assert first < second < third
    assert one.commit(Transaction({"a": first}, {"a": b"3"})) is None
    assert one.commit(Transaction({"a": third})) == third
    assert one.commit(Transaction({"none": 0}, deletes=frozenset({"none"}))) == third
    assert one.read().revision == third


def test_all_of_a_transaction_happens_or_nothing(client: Make) -> None:
    one = client()
    a, b = one.put("a", b"1"), one.put("b", b"1")
    changes = {"a": b"2", "c": b"2"}
    stale = Transaction({"a": a, "b": b + 1, "c": 0}, changes, frozenset({"b"}))
    assert one.commit(stale) is None
    assert one.values() == {"a": b"1", "b": b"1"}
    assert one.commit(Transaction({"a": a, "b": b, "c": 0}, changes, frozenset({"b"})))
    assert one.values() == changes
    assert len({item.revision for item in one.read().puts.values()}) == 1


def test_keys_that_must_stay_as_they_are_can_be_expected_too(client: Make) -> None:
    one = client()
    manager = one.put("manager", b"b1")
    assert one.commit(Transaction({"manager": manager, "a": 0}, {"a": b"1"}))
    one.put("manager", b"b2", manager)
    assert one.commit(Transaction({"manager": manager, "b": 0}, {"b": b"1"})) is None
    assert "b" not in one.values()


def test_a_transaction_that_is_sent_twice_happens_once(client: Make) -> None:
    one, other = client(), client()
    transaction = Transaction({"a": 0}, {"a": b"1"})
    assert one.commit(transaction)
    assert other.commit(transaction) is None
    removal = Transaction({"a": one.read().puts["a"].revision}, deletes=frozenset({"a"}))
    assert one.commit(removal)
    assert one.commit(removal) is None
    assert one.values() == {}


def test_what_was_deleted_and_put_again_is_another_item(client: Make) -> None:
    one = client()
    first = one.put("a", b"1")
    one.delete("a", first)
    second = one.put("a", b"1")
    assert second > first
    assert one.commit(Transaction({"a": first}, {"a": b"2"})) is None


def test_of_clients_that_race_one_wins(client: Make) -> None:
    clients = [client() for _ in range(4)]
    revision = 0
    for _ in range(5):
        transactions = [
            partial(one.itself.commit, Transaction({"a": revision}, {"a": b"%d" % number}))
            for number, one in enumerate(clients)
        ]
        revisions = call(together, transactions)
        (revision,) = [one for one in revisions if one is not None]
        winner = revisions.index(revision)
        assert clients[0].values() == {"a": b"%d" % winner}


def together(calls: list[Callable[[], object]]) -> Deferred[list[object]]:
    """What calls return that are all begun in one turn of the reactor."""
    return gatherResults([Deferred.fromCoroutine(one()) for one in calls])  # type: ignore[arg-type]


def test_many_increments_by_several_clients_are_all_counted(client: Make) -> None:
    clients = [client() for _ in range(3)]

    async def count(registry: Registry, times: int) -> None:
        while times:
            item = (await registry.read()).puts.get("count")
            value = int(item.value) + 1 if item else 1
            expected = item.revision if item else 0
            if await registry.commit(Transaction({"count": expected}, {"count": b"%d" % value})):
                times -= 1

    call(together, [partial(count, one.itself, 10) for one in clients])
    assert clients[0].values() == {"count": b"30"}


@pytest.mark.parametrize("value", [b"", b"\x00", bytes(range(256)), bytes(LARGEST_VALUE)])
def test_values_are_any_bytes_up_to_the_largest(client: Make, value: bytes) -> None:
    one = client()
    followed = one.follow()
    one.put("a", value)
    assert one.values() == {"a": value}
    followed.sees({"a": value})


def test_a_transaction_of_as_many_keys_as_there_may_be(client: Make) -> None:
    one = client()
    keys = [f"{number:0{LONGEST_KEY}d}" for number in range(MOST_OPERATIONS)]
    value = bytes(LARGEST_VALUE // MOST_OPERATIONS)
    followed = client().follow()
    revision = one.commit(Transaction(dict.fromkeys(keys, 0), dict.fromkeys(keys, value)))
    assert revision
    followed.sees(dict.fromkeys(keys, value))
    assert [len(batch.puts) for batch in followed.batches if batch.puts] == [MOST_OPERATIONS]
    assert one.commit(Transaction(dict.fromkeys(keys, revision), deletes=frozenset(keys)))
    followed.sees({})


@pytest.mark.parametrize(
    "transaction",
    [
        Transaction({"a": 0}, {"a": bytes(LARGEST_VALUE + 1)}),
        Transaction({"a": 0, "b": 0}, {"a": bytes(LARGEST_VALUE), "b": b"1"}),
        Transaction({str(number): 0 for number in range(MOST_OPERATIONS + 1)}),
        *(
            Transaction({key: 0}, {key: b"1"})
            for key in ("", "a" * (LONGEST_KEY + 1), "a\0b", "\ud800")
        ),
    ],
    ids=["value", "values", "keys", "no key", "long key", "zero", "surrogate"],
)
def test_what_is_too_large_is_refused_and_does_no_harm(
    client: Make, transaction: Transaction
) -> None:
    one = client()
    with pytest.raises(Refused):
        one.commit(transaction)
    one.put("a", b"1")
    assert one.values() == {"a": b"1"}


def test_a_follower_gets_all_there_is_and_then_every_change(client: Make) -> None:
    one, other = client(), client()
    a = one.put("a", b"1")
    followed = other.follow()
    followed.sees({"a": b"1"})
    assert followed.batches[0].is_whole
    b = one.put("b", b"1")
    followed.sees({"a": b"1", "b": b"1"})
    one.delete("a", a)
    followed.sees({"b": b"1"})
    last = one.put("b", b"2", b)
    followed.sees({"b": b"2"})
    assert followed.items["b"].revision == last == followed.batches[-1].revision
    assert followed.failure is None
    assert [batch.is_whole for batch in followed.batches].count(True) == 1


def test_a_follower_of_nothing_is_told_that_there_is_nothing(client: Make) -> None:
    followed = client().follow()
    eventually(lambda: followed.batches, "it is told")
    assert followed.batches[0].is_whole
    assert followed.items == {}


def test_a_client_follows_what_it_changes_itself(client: Make) -> None:
    one = client()
    followed, second = one.follow(), one.follow()
    revision = one.put("a", b"1")
    for each in (followed, second):
        each.sees({"a": b"1"})
        assert each.items["a"].revision == revision


def test_a_follower_never_sees_half_a_transaction(client: Make) -> None:
    one = client()
    followed = client().follow()
    revision = 0
    for number in range(30):
        value = b"%d" % number
        expected = {"a": revision, "b": revision}
        revision = one.commit(Transaction(expected, {"a": value, "b": value})) or 0
        assert revision
    followed.sees({"a": b"29", "b": b"29"})
    pairs = [[batch.puts[key].value for key in batch.puts] for batch in followed.batches]
    assert all(not pair or (pair[0] == pair[1] and len(pair) == 2) for pair in pairs)


def test_a_follower_that_stops_is_told_nothing_more_and_another_begins_anew(client: Make) -> None:
    one = client()
    followed, second = one.follow(), one.follow()
    followed.sees({})
    followed.stop()
    followed.stop()
    told = len(followed.batches)
    one.put("a", b"1")
    second.sees({"a": b"1"})
    one.follow().sees({"a": b"1"})
    assert len(followed.batches) == told


def test_a_follower_that_was_behind_when_history_was_forgotten_is_right(
    rig: Rig, client: Make
) -> None:
    one = client()
    followed = client().follow()
    a = one.put("a", b"1")
    followed.sees({"a": b"1"})
    one.delete("a", a)
    b = one.put("b", b"1")
    rig.compact()
    followed.sees({"b": b"1"})
    one.delete("b", b)
    one.put("c", b"1")
    followed.sees({"c": b"1"})
    client().follow().sees({"c": b"1"})


def test_a_lease_ends_with_all_its_keys_and_no_others(rig: Rig, client: Make) -> None:
    one, other = client(), client()
    followed = other.follow()
    lease, longer = one.grant(rig.lease), one.grant(60 * rig.lease)
    before = one.put("servers/s1", b"1", lease=lease)
    one.put("servers/s2", b"1", lease=lease)
    one.put("servers/s3", b"1", lease=longer)
    one.put("farm", b"1")
    assert one.read().puts["servers/s1"].lease == lease
    rig.let_pass(rig.lease + 0.01)
    followed.sees({"servers/s3": b"1", "farm": b"1"})
    assert other.read().revision > before
    with pytest.raises(LeaseLost):
        one.renew(lease)
    with pytest.raises(LeaseLost):
        one.put("servers/s1", b"2", lease=lease)
    other.put("servers/s1", b"other's")


def test_a_lease_that_is_renewed_does_not_end(rig: Rig, client: Make) -> None:
    one = client()
    lease = one.grant(rig.lease)
    revision = one.put("a", b"1", lease=lease)
    for _ in range(3):
        rig.let_pass(rig.lease / 2)
        one.renew(lease)
    assert one.read().puts["a"].revision == revision


def test_a_lease_outlives_the_client_that_was_granted_it(rig: Rig, client: Make) -> None:
    one, other = client(), client()
    lease = one.grant(10 * rig.lease)
    one.put("a", b"1", lease=lease)
    one.close()
    assert other.values() == {"a": b"1"}
    other.revoke(lease)
    assert other.values() == {}


def test_a_lease_that_is_revoked_is_over_at_once(rig: Rig, client: Make) -> None:
    one = client()
    followed = client().follow()
    lease, other = one.grant(10 * rig.lease), one.grant(10 * rig.lease)
    assert lease != other
    one.put("a", b"1", lease=lease)
    one.put("b", b"1", lease=other)
    one.revoke(lease)
    one.revoke(lease)
    followed.sees({"b": b"1"})
    with pytest.raises(LeaseLost):
        one.renew(lease)


def test_a_key_ends_with_the_lease_it_was_last_put_with(rig: Rig, client: Make) -> None:
    one = client()
    first, second = one.grant(10 * rig.lease), one.grant(10 * rig.lease)
    a = one.put("a", b"1", lease=first)
    b = one.put("b", b"1", lease=first)
    one.put("a", b"1", a, lease=second)
    one.put("b", b"1", b)
    one.revoke(first)
    assert one.values() == {"a": b"1", "b": b"1"}
    one.revoke(second)
    assert one.values() == {"b": b"1"}


@pytest.mark.parametrize("holds", [True, False])
def test_with_a_lease_that_has_ended_nothing_is_put(client: Make, holds: bool) -> None:
    one = client()
    lease = one.grant(60)
    one.revoke(lease)
    transaction = Transaction({"a": 0 if holds else 7}, {"a": b"1"}, lease=lease)
    if holds:
        with pytest.raises(LeaseLost):
            one.commit(transaction)
    else:
        assert one.commit(transaction) is None
    assert one.values() == {}


def test_a_closed_client_says_so_and_can_be_closed_again(client: Make) -> None:
    one, other = client(), client()
    followed = one.follow()
    one.put("a", b"1")
    followed.sees({"a": b"1"})
    one.close()
    one.close()
    with pytest.raises(Unavailable):
        one.read()
    with pytest.raises(Unavailable):
        one.commit(Transaction({"b": 0}, {"b": b"1"}))
    other.put("b", b"1")
    other.follow().sees({"a": b"1", "b": b"1"})
    assert followed.values() == {"a": b"1"}
