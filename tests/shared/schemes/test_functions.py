"""Schemes by function: what a server draws leads home, and tells nobody else whose it is."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.table import Table
from homing.farm.config.keys import AESBlocks
from homing.shared.by_function import ByFunction, OwnerFunction
from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList, IdSet, MandatoryBits
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH, name_of_ticket, padded
from homing.shared.part import Part
from homing.shared.schemes import keyed
from homing.shared.schemes.hash import Rendezvous
from homing.shared.schemes.keyed import KeyedBlocks
from homing.shared.schemes.seeded import SeededMACs
from tests.assigning import assigned, free, owner, records

LENGTHS = (KEY_NAME_LENGTH, LENGTH)
SERVERS = ("s1", "s2", "s3", "s4")
KEY, OLDER_KEY, FOREIGN_KEY = (bytes([number]) * 16 for number in (1, 2, 3))
BY_FUNCTION = ("hash", "seeded", "keyed", "function")

NAMES = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=1, max_size=63
)
FARMS = st.lists(NAMES, min_size=1, max_size=12, unique=True)
LUCK = st.integers(0, 1 << 64).map(Random)  # not st.randoms: draws until luck strikes


def by_first_byte(identifier: bytes) -> str | None:
    """A user's function for `SERVERS`: every second identifier is somebody's."""
    return None if identifier[0] & 1 else SERVERS[(identifier[0] >> 1) % len(SERVERS)]


def parts(
    kind: str, luck: Random | None = None, occupied: tuple[IdSet, ...] = ()
) -> dict[str, Part]:
    """What each of `SERVERS` has, with fresh secrets."""
    return assigned(kind, SERVERS, occupied, luck, function=f"{__name__}:by_first_byte")


def function_of(part: Part) -> OwnerFunction:
    assert isinstance(part, ByFunction)
    return part.function


def drawn(function: OwnerFunction, server: str, luck: Random) -> bytes:
    return ByFunction("test", function, server).draw(luck.randrange, free)


@pytest.mark.parametrize("kind", BY_FUNCTION)
class TestEveryScheme:
    @given(luck=LUCK, tail=st.binary(max_size=200))
    def test_what_a_server_draws_leads_back_to_it_and_so_does_all_with_its_first_16_bytes(
        self, kind: str, luck: Random, tail: bytes
    ) -> None:
        by_owner = parts(kind, luck)
        table = Table.of_records(records(by_owner))
        for server, part in by_owner.items():
            for length in LENGTHS:
                identifier = part.draw(luck.randrange, free, length)
                assert len(identifier) == length
                start = identifier[:KEY_NAME_LENGTH]
                for one in (identifier, start, name_of_ticket(start + tail)):
                    assert owner(table, one) == server
                assert [name for name in SERVERS if identifier in by_owner[name]] == [server]

    @given(identifier=st.binary(max_size=64), luck=LUCK)
    def test_whatever_a_client_sends_is_somebodys_or_nobodys_and_no_error(
        self, kind: str, identifier: bytes, luck: Random
    ) -> None:
        table = Table.of_records(records(parts(kind, luck)))
        found = owner(table, identifier)
        assert found in (*SERVERS, None)
        assert owner(table, padded(identifier)) == found, "padding changes the owner"

    @pytest.mark.parametrize("length", LENGTHS)
    def test_an_identifier_in_use_is_not_given_out_again(self, kind: str, length: int) -> None:
        refused: list[bytes] = []

        def taken(identifier: bytes) -> bool:
            refused.append(identifier)
            return len(refused) <= 5

        assert parts(kind)["s2"].draw(Random(2).randrange, taken, length) == refused[5]
        assert len(set(refused)) == 6

    def test_a_server_that_can_have_nothing_is_told_so_and_does_not_hang(self, kind: str) -> None:
        with pytest.raises(NoFreeIdentifier, match=f"scheme {kind} .* s2"):
            parts(kind)["s2"].draw(Random(2).randrange, lambda identifier: True)

    def test_a_server_never_draws_what_another_brings_itself(self, kind: str) -> None:
        # half of all identifiers: every second draw would otherwise fall into it
        occupied = (MandatoryBits(b"\x10", b"\x10"), IdList([b"nobody"]))
        part, luck = parts(kind, Random(1), occupied)["s3"], Random(5)
        for length in LENGTHS:
            for _ in range(40):
                identifier = part.draw(luck.randrange, free, length)
                assert not any(identifier in id_set for id_set in occupied)
                assert identifier in part
        everything = parts(kind, Random(1))["s3"]
        some = (everything.draw(luck.randrange, free) for _ in range(1000))
        assert next(one for one in some if one[0] & 0x10) not in part

    @pytest.mark.parametrize("length", LENGTHS)
    def test_a_server_has_more_identifiers_than_chance_meets_again(
        self, kind: str, length: int
    ) -> None:
        assert all(part.count(length) >= 1 << 64 for part in parts(kind).values())

    def test_a_part_shown_to_people_tells_no_secret(self, kind: str) -> None:
        seed, key = Random(7).randbytes(32), Random(7).randbytes(16)
        part = parts(kind, Random(7))["s1"]
        assert part.describe() == f"by the scheme {kind}"
        for secret in (seed, key):
            for form in (secret.hex()[:16], repr(secret), str(secret[:8])[2:-1]):
                assert form not in repr(part) + str(part) + repr(function_of(part))


class TestRandomIdentifiers:
    """The legacy session ID of nearly every TLS 1.3 client is random bytes."""

    @pytest.mark.parametrize("kind", ["seeded", "keyed"])
    def test_none_of_many_first_visits_is_taken_for_a_returning_client(self, kind: str) -> None:
        table, luck = Table.of_records(records(parts(kind))), Random(130)
        assert not any(table.find(luck.randbytes(LENGTH)) for _ in range(100_000))

    def test_keyed_hits_with_less_than_2_to_the_minus_32_even_in_a_large_farm(self) -> None:
        # A random block decrypts to a random block; a hit is one whose first bytes are a tag
        tag_bits = 8 * (keyed.NUMBER_LENGTH + keyed.CHECK_LENGTH)
        largest, most_keys = 1000, 2
        assert largest * most_keys * 2.0**-tag_bits <= 2.0**-32
        names = [f"s{number}" for number in range(largest)]
        tags = {keyed.tag(name) for name in names}
        assert len(tags) == largest, "two servers cannot be told apart"
        assert {len(tag) for tag in tags} == {tag_bits // 8}
        function, cipher = KeyedBlocks(names, [AESBlocks(KEY)]), AESBlocks(KEY)
        tag = keyed.tag("s7")
        assert function.owner(cipher.encrypt(tag + bytes(10))) == "s7"
        for bit in range(tag_bits):  # every bit of the tag counts
            wrong = bytearray(tag + bytes(10))
            wrong[bit // 8] ^= 1 << bit % 8
            assert function.owner(cipher.encrypt(bytes(wrong))) is None

    def test_seeded_looks_at_every_bit_of_a_mac_of_64(self) -> None:
        part = parts("seeded")["s2"]
        identifier = part.draw(Random(2).randrange, free, KEY_NAME_LENGTH)
        for bit in range(8 * KEY_NAME_LENGTH):  # so a random one fits with n * 2^-64
            wrong = bytearray(identifier)
            wrong[bit // 8] ^= 1 << bit % 8
            assert function_of(part).owner(bytes(wrong)) is None

    def test_hash_sends_every_first_visit_somewhere_and_evenly(self) -> None:
        luck, count = Random(130), 20_000
        function = Rendezvous(SERVERS)
        owners = Counter(function.owner(luck.randbytes(LENGTH)) for _ in range(count))
        assert set(owners) == set(SERVERS)
        expected = count / len(SERVERS)
        # 3 degrees of freedom: above 21.1 once in 10,000
        assert sum((found - expected) ** 2 / expected for found in owners.values()) < 21.1


class TestHash:
    @given(
        servers=st.lists(NAMES, min_size=2, max_size=8, unique=True),
        identifiers=st.lists(st.binary(min_size=16, max_size=32), max_size=50),
        luck=LUCK,
    )
    def test_a_server_that_comes_or_goes_moves_only_what_is_its_own_and_order_moves_nothing(
        self, servers: list[str], identifiers: list[bytes], luck: Random
    ) -> None:
        comer = servers[-1]
        with_it, without = Rendezvous(servers), Rendezvous(servers[:-1])
        shuffled = Rendezvous(luck.sample(servers, len(servers)))
        for identifier in identifiers:
            after = with_it.owner(identifier)
            assert after in (comer, without.owner(identifier))
            assert after == shuffled.owner(identifier)

    def test_a_server_that_comes_takes_its_part_of_all_the_others(self) -> None:
        luck = Random(130)
        before, after = Rendezvous(SERVERS), Rendezvous((*SERVERS, "s5"))
        moved = Counter(
            before.owner(one)
            for one in (luck.randbytes(LENGTH) for _ in range(20_000))
            if after.owner(one) == "s5"
        )
        # a fifth of everything, a twentieth of all from each: 1000 +- 6 sigma
        assert set(moved) == set(SERVERS)
        assert all(abs(found - 1000) < 6 * 31 for found in moved.values())


class TestKeyed:
    @given(st.sampled_from(SERVERS), LUCK)
    def test_while_keys_change_the_identifiers_of_both_come_home_and_of_no_other(
        self, server: str, luck: Random
    ) -> None:
        keys = [luck.randbytes(16), luck.randbytes(16)]
        foreign = KeyedBlocks(SERVERS, [AESBlocks(FOREIGN_KEY)])
        for order in (keys, keys[::-1]):
            balancer = KeyedBlocks(SERVERS, [AESBlocks(key) for key in order])
            for key in keys:
                drawer = KeyedBlocks(SERVERS, [AESBlocks(key)])
                assert balancer.owner(drawn(drawer, server, luck)) == server
            assert balancer.owner(drawn(foreign, server, luck)) is None

    def test_a_server_draws_with_the_first_key(self) -> None:
        both = KeyedBlocks(SERVERS, [AESBlocks(KEY), AESBlocks(OLDER_KEY)])
        nonce = b"n" * 10
        assert both.make("s1", lambda below: int.from_bytes(nonce, "big")) == (
            AESBlocks(KEY).encrypt(keyed.tag("s1") + nonce)
        )

    def test_servers_that_come_and_go_leave_the_identifiers_of_the_others_alone(self) -> None:
        full = KeyedBlocks(SERVERS, [AESBlocks(KEY)])
        fewer = KeyedBlocks(("s9", "s3", "s1"), [AESBlocks(KEY)])
        for server in SERVERS:
            expected = server if server in ("s1", "s3") else None
            assert fewer.owner(drawn(full, server, Random(3))) == expected

    def test_the_block_is_aes_128_as_in_fips_197(self) -> None:
        blocks = AESBlocks(bytes(range(16)))
        plain = bytes.fromhex("00112233445566778899aabbccddeeff")
        assert blocks.encrypt(plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
        assert blocks.decrypt(blocks.encrypt(plain)) == plain
        assert blocks.encrypt(plain) == blocks.encrypt(plain), "blocks are chained"


class TestSeeded:
    @given(FARMS, LUCK)
    def test_a_server_needs_no_seed_but_its_own_and_a_foreign_one_makes_nothing_that_routes(
        self, servers: list[str], luck: Random
    ) -> None:
        seeds = {server: luck.randbytes(32) for server in servers}
        balancer = SeededMACs(seeds)
        for server in servers:
            alone, foreign = (SeededMACs({server: one}) for one in (seeds[server], bytes(32)))
            identifier = drawn(alone, server, luck)
            assert balancer.owner(identifier) == alone.owner(identifier) == server
            assert balancer.owner(drawn(foreign, server, luck)) is None
