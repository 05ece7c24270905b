"""Digests of records: equal where the two sides agree, different where they do not."""

from __future__ import annotations

from random import Random

import pytest

from homing.farm.config.keys import AESBlocks
from homing.shared.by_function import ByFunction
from homing.shared.fingerprint import DIGEST_LENGTH, digest, digests
from homing.shared.id_sets import IdList, IdRange, MandatoryBits
from homing.shared.part import Part
from homing.shared.record import Record
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.example_function import by_third_byte
from homing.shared.schemes.function import UserFunction
from homing.shared.schemes.keyed import KeyedBlocks
from homing.shared.schemes.seeded import SeededMACs
from tests.assigning import assigned

NAMES = ("s1", "s2", "s3")
FUNCTION = "homing.shared.schemes.example_function:by_third_byte"
SETS: tuple[Part, ...] = (
    IdRange.of_prefix(b"S1"),
    IdRange.of_prefix(b"S2"),
    MandatoryBits(b"\xff", b"\x53"),
    MandatoryBits(b"\xff\x00", b"\x54"),
    IdList([b"1" * 32, b"5" * 32, b"9" * 32]),
    IdList([b"1" * 32, b"6" * 32, b"9" * 32]),  # the same ends
)


def of(scheme: str, name: str = "s1", names: tuple[str, ...] = NAMES, seed: int = 1) -> bytes:
    """The digest of a server's record, under keys that `seed` makes."""
    function = FUNCTION if scheme == "function" else None
    return digest(Record((assigned(scheme, names, luck=Random(seed), function=function)[name],)))


def test_every_set_has_a_digest_of_its_own_and_their_order_does_not_count() -> None:
    each = {digest(Record((one,))) for one in SETS}
    assert len(each) == len(SETS)
    assert {len(one) for one in each} == {DIGEST_LENGTH}
    assert digest(Record(SETS)) == digest(Record(SETS[::-1], epoch=7))
    assert digest(Record(SETS)) != digest(Record(SETS[1:]))
    assert len(digest(Record())) == DIGEST_LENGTH


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_copies_of_one_farm_agree_and_each_server_has_its_own(scheme: str) -> None:
    assert of(scheme) == of(scheme)
    assert of(scheme, "s1") != of(scheme, "s2")


@pytest.mark.parametrize("scheme", ["range", "hash", "function"])
def test_a_copy_that_knows_more_servers_differs_where_that_moves_identifiers(scheme: str) -> None:
    assert of(scheme, "s3") != of(scheme, "s3", ("s0", *NAMES))


@pytest.mark.parametrize("scheme", ["seeded", "keyed"])
def test_another_key_is_seen(scheme: str) -> None:
    assert of(scheme, seed=1) != of(scheme, seed=2)


def test_a_server_that_knows_its_own_seed_only_agrees_with_a_balancer_that_knows_all() -> None:
    seeds = {name: name.encode().ljust(32) for name in NAMES}

    def record(known: dict[str, bytes]) -> Record:
        return Record((ByFunction("seeded", SeededMACs(known), "s1"),))

    assert digest(record({"s1": seeds["s1"]})) == digest(record(seeds))


def test_a_server_agrees_at_every_step_of_a_change_of_key() -> None:
    old, new = AESBlocks(bytes(16)), AESBlocks(bytes(15) + b"1")

    def record(*keys: AESBlocks) -> Record:
        return Record((ByFunction("keyed", KeyedBlocks(NAMES, keys), "s1"),))

    steps = [record(old), record(old, new), record(new, old), record(new)]
    for step, record_ in enumerate(steps):
        for server in steps[max(0, step - 1) : step + 2]:
            assert digest(server) in digests(record_), step
    assert digest(steps[0]) not in digests(steps[3])


def test_a_function_that_answers_otherwise_on_another_machine_is_seen() -> None:
    def other(identifier: bytes) -> str | None:
        return "s1" if identifier[2] == 1 else by_third_byte(identifier)

    def record(function: object) -> Record:
        users = UserFunction(function, NAMES, print)  # type: ignore[arg-type]
        return Record((ByFunction("function", users, "s1"),))

    assert digest(record(by_third_byte)) == digest(record(by_third_byte))
    assert digest(record(by_third_byte)) != digest(record(other))


def test_what_other_servers_bring_is_part_of_what_one_may_draw() -> None:
    function = SeededMACs({"s1": bytes(32)})
    one, other = (
        Record((ByFunction("seeded", function, "s1", excluded),))
        for excluded in ((IdRange.of_prefix(b"a"),), ())
    )
    assert digest(one) != digest(other)
