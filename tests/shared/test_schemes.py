"""Schemes by function: what a server draws leads home, and tells nobody else whose it is."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.farm.config.keys import AESBlocks
from homing.server.identifiers.nonces import Nonces
from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList, IdRange, MandatoryBits
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH, name_of_ticket, padded
from homing.shared.record import Record
from homing.shared.schemes import (
    FunctionScheme,
    HashScheme,
    KeyedScheme,
    Scheme,
    SeededScheme,
    Share,
    keyed,
    seeded,
)
from homing.shared.schemes.function import REST

LENGTHS = (KEY_NAME_LENGTH, LENGTH)
SERVERS = ("s1", "s2", "s3", "s4")
KEY, OLDER_KEY, FOREIGN_KEY = (bytes([number]) * 16 for number in (1, 2, 3))
BY_FUNCTION = ("hash", "seeded", "keyed", "function")

NAMES = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=1, max_size=63
)
FARMS = st.lists(NAMES, min_size=1, max_size=12, unique=True)
LUCK = st.integers(0, 1 << 64).map(Random)  # not st.randoms: draws until luck strikes


def free(identifier: bytes) -> bool:
    """Nothing is taken."""
    return False


def by_first_byte(servers: Sequence[str]) -> Callable[[bytes], str | None]:
    """A user's function: every second identifier is somebody's."""

    def function(identifier: bytes) -> str | None:
        number = identifier[0] >> 1
        return None if identifier[0] & 1 else servers[number % len(servers)]

    return function


class Complaints(list[str]):
    """What a function scheme reports."""


def make(scheme: str, servers: Sequence[str], luck: Random) -> Scheme:
    """A scheme of that name with fresh secrets."""
    if scheme == "hash":
        return HashScheme(servers)
    if scheme == "seeded":
        return SeededScheme({server: luck.randbytes(32) for server in servers})
    if scheme == "keyed":
        key = luck.randbytes(16)
        return KeyedScheme(servers, [AESBlocks(key)], lambda: luck.randbytes(10))
    return FunctionScheme(by_first_byte(servers), servers, Complaints().append, float)


def counted(folder: Path, luck: Random) -> Nonces:
    """The nonces that servers really use, with a clock that stands still."""
    return Nonces(folder / "nonce", lambda: 1_700_000_000.0, luck.randbytes, Complaints().append)


@pytest.mark.parametrize("kind", BY_FUNCTION)
class TestEveryScheme:
    @given(servers=FARMS, luck=LUCK)
    def test_what_a_server_draws_leads_back_to_it_in_full_and_as_a_tickets_name(
        self, kind: str, servers: list[str], luck: Random
    ) -> None:
        scheme = make(kind, servers, luck)
        for server in servers:
            for length in LENGTHS:
                identifier = scheme.draw(server, luck.randrange, free, length)
                assert len(identifier) == length
                assert scheme.owner(identifier) == server
                assert scheme.owner(identifier[:KEY_NAME_LENGTH]) == server
                holders = [name for name in servers if identifier in Share(scheme, name)]
                assert holders == [server]

    @given(tail=st.binary(max_size=200), luck=LUCK)
    def test_who_keeps_the_first_16_bytes_of_an_identifier_is_sent_to_its_server_as_documented(
        self, kind: str, tail: bytes, luck: Random
    ) -> None:
        scheme = make(kind, SERVERS, luck)
        seen = scheme.draw("s3", luck.randrange, free, LENGTH)
        assert scheme.owner(name_of_ticket(seen[:KEY_NAME_LENGTH] + tail)) == "s3"

    @given(identifier=st.binary(max_size=64), luck=LUCK)
    def test_whatever_a_client_sends_is_somebodys_or_nobodys_and_no_error(
        self, kind: str, identifier: bytes, luck: Random
    ) -> None:
        scheme = make(kind, SERVERS, luck)
        owner = scheme.owner(identifier)
        assert owner in (*SERVERS, None)
        assert scheme.owner(padded(identifier)) == owner, "padding changes the owner"

    @pytest.mark.parametrize("length", LENGTHS)
    def test_an_identifier_in_use_is_not_given_out_again(self, kind: str, length: int) -> None:
        scheme = make(kind, SERVERS, Random(1))
        refused: list[bytes] = []

        def taken(identifier: bytes) -> bool:
            refused.append(identifier)
            return len(refused) <= 5

        assert scheme.draw("s2", Random(2).randrange, taken, length) == refused[5]
        assert len(set(refused)) == 6

    def test_a_server_that_can_have_nothing_is_told_so_and_does_not_hang(self, kind: str) -> None:
        scheme = make(kind, SERVERS, Random(1))
        with pytest.raises(NoFreeIdentifier, match="s2"):
            scheme.draw("s2", Random(2).randrange, lambda identifier: True, LENGTH)

    def test_a_server_never_draws_what_another_brings_itself(self, kind: str) -> None:
        # half of all identifiers: every second draw would otherwise fall into it
        excluded = (MandatoryBits(b"\x10", b"\x10"), IdList([b"nobody"]))
        scheme = make(kind, SERVERS, Random(1))
        share = Share(scheme, "s3", excluded)
        luck = Random(5)
        for length in LENGTHS:
            for _ in range(40):
                identifier = share.draw(luck.randrange, free, length)
                assert not any(identifier in id_set for id_set in excluded)
                assert identifier in share
        inside = next(
            one
            for one in (scheme.draw("s3", luck.randrange, free, LENGTH) for _ in range(1000))
            if one[0] & 0x10
        )
        assert scheme.owner(inside) == "s3"
        assert inside not in share

    def test_a_share_honours_what_is_taken_beside_what_is_excluded(self, kind: str) -> None:
        share = Share(make(kind, SERVERS, Random(1)), "s1", (IdRange.of_prefix(b"\xff"),))
        given_out: set[bytes] = set()
        for _ in range(50):
            given_out.add(share.draw(Random(9).randrange, given_out.__contains__))
        assert len(given_out) == 50, "a draw with the same luck gave a taken identifier"

    def test_a_record_shown_as_data_or_text_tells_no_secret(self, kind: str) -> None:
        secrets = [Random(7).randbytes(32), KEY]
        schemes: dict[str, Scheme] = {
            "hash": HashScheme(SERVERS),
            "seeded": SeededScheme(dict.fromkeys(SERVERS, secrets[0])),
            "keyed": KeyedScheme(SERVERS, [AESBlocks(KEY)], lambda: b"n" * 10),
            "function": FunctionScheme(lambda identifier: None, SERVERS, print, float),
        }
        record = Record(share=Share(schemes[kind], "s1"), epoch=3)
        data = record.to_data()
        assert data == {"epoch": 3, "sets": [], "share": {"scheme": kind, "server": "s1"}}
        told = json.dumps(data) + repr(record) + str(record) + repr(record.share)
        for secret in secrets:
            for form in (secret.hex(), repr(secret), str(secret[:8])[2:-1], secret.hex()[:16]):
                assert form not in told


class TestRandomIdentifiers:
    """The legacy session ID of nearly every TLS 1.3 client is random bytes."""

    COUNT = 200_000

    def hits(self, scheme: Scheme) -> int:
        luck = Random(130)
        return sum(scheme.owner(luck.randbytes(LENGTH)) is not None for _ in range(self.COUNT))

    def test_keyed_takes_none_of_many_first_visits_for_a_returning_client(self) -> None:
        ciphers = [AESBlocks(KEY), AESBlocks(OLDER_KEY)]
        assert self.hits(KeyedScheme(SERVERS, ciphers)) == 0

    def test_keyed_hits_with_less_than_2_to_the_minus_32_even_in_a_large_farm(self) -> None:
        # A random block decrypts to a random block; a hit is one whose first bytes are a tag
        tag_bits = 8 * (keyed.NUMBER_LENGTH + keyed.CHECK_LENGTH)
        largest, most_keys = 1000, 2
        assert largest * most_keys * 2.0**-tag_bits <= 2.0**-32
        names = [f"s{number}" for number in range(largest)]
        tags = {keyed.tag(name) for name in names}
        assert len(tags) == largest, "two servers cannot be told apart"
        assert {len(tag) for tag in tags} == {tag_bits // 8}
        scheme, cipher = KeyedScheme(names, [AESBlocks(KEY)]), AESBlocks(KEY)
        tag = keyed.tag("s7")
        assert scheme.owner(cipher.encrypt(tag + bytes(10))) == "s7"
        for bit in range(tag_bits):  # every bit of the tag counts
            wrong = bytearray(tag + bytes(10))
            wrong[bit // 8] ^= 1 << bit % 8
            assert scheme.owner(cipher.encrypt(bytes(wrong))) is None

    def test_seeded_takes_none_of_many_first_visits_for_a_returning_client(self) -> None:
        assert self.hits(make("seeded", SERVERS, Random(1))) == 0

    def test_seeded_looks_at_every_bit_of_a_mac_of_64(self) -> None:
        scheme = make("seeded", SERVERS, Random(1))
        identifier = scheme.draw("s2", Random(2).randrange, free, KEY_NAME_LENGTH)
        for bit in range(8 * KEY_NAME_LENGTH):  # so a random one fits with n * 2^-64
            wrong = bytearray(identifier)
            wrong[bit // 8] ^= 1 << bit % 8
            assert scheme.owner(bytes(wrong)) is None

    def test_hash_sends_every_first_visit_somewhere_and_evenly(self) -> None:
        luck, count = Random(130), 20_000
        scheme = HashScheme(SERVERS)
        owners = Counter(scheme.owner(luck.randbytes(LENGTH)) for _ in range(count))
        assert set(owners) == set(SERVERS)
        expected = count / len(SERVERS)
        # 3 degrees of freedom: above 21.1 once in 10,000
        assert sum((found - expected) ** 2 / expected for found in owners.values()) < 21.1


class TestHash:
    @given(
        servers=st.lists(NAMES, min_size=2, max_size=8, unique=True),
        identifiers=st.lists(st.binary(min_size=16, max_size=32), max_size=50),
    )
    def test_a_server_that_comes_or_goes_moves_only_what_is_its_own(
        self, servers: list[str], identifiers: list[bytes]
    ) -> None:
        comer = servers[-1]
        with_it, without = HashScheme(servers), HashScheme(servers[:-1])
        for identifier in identifiers:
            after = with_it.owner(identifier)
            assert after in (comer, without.owner(identifier))

    def test_a_server_that_comes_takes_its_part_of_all_the_others(self) -> None:
        luck = Random(130)
        before, after = HashScheme(SERVERS), HashScheme((*SERVERS, "s5"))
        moved = Counter(
            before.owner(one)
            for one in (luck.randbytes(LENGTH) for _ in range(20_000))
            if after.owner(one) == "s5"
        )
        # a fifth of everything, a twentieth of all from each: 1000 +- 6 sigma
        assert set(moved) == set(SERVERS)
        assert all(abs(found - 1000) < 6 * 31 for found in moved.values())

    @given(FARMS, st.binary(min_size=16, max_size=32), LUCK)
    def test_the_order_in_farm_toml_does_not_matter(
        self, servers: list[str], identifier: bytes, luck: Random
    ) -> None:
        shuffled = luck.sample(servers, len(servers))
        assert HashScheme(shuffled).owner(identifier) == HashScheme(servers).owner(identifier)


class TestKeyed:
    @given(st.sampled_from(SERVERS), st.sampled_from(LENGTHS), LUCK)
    def test_while_keys_change_the_identifiers_of_both_come_home(
        self, server: str, length: int, luck: Random
    ) -> None:
        keys = [luck.randbytes(16), luck.randbytes(16)]
        nonce = lambda: luck.randbytes(10)  # noqa: E731
        for order in (keys, keys[::-1]):
            balancer = KeyedScheme(SERVERS, [AESBlocks(key) for key in order])
            for key in keys:
                drawn = KeyedScheme(SERVERS, [AESBlocks(key)], nonce).draw(
                    server, luck.randrange, free, length
                )
                assert balancer.owner(drawn) == server

    @given(st.sampled_from(SERVERS), LUCK)
    def test_an_identifier_under_an_unknown_key_has_no_owner(
        self, server: str, luck: Random
    ) -> None:
        foreign = KeyedScheme(SERVERS, [AESBlocks(FOREIGN_KEY)], lambda: luck.randbytes(10))
        balancer = KeyedScheme(SERVERS, [AESBlocks(KEY), AESBlocks(OLDER_KEY)])
        assert balancer.owner(foreign.draw(server, luck.randrange, free, LENGTH)) is None

    def test_a_server_draws_with_the_first_key(self) -> None:
        both = [AESBlocks(KEY), AESBlocks(OLDER_KEY)]
        drawn = KeyedScheme(SERVERS, both, lambda: b"n" * 10).draw(
            "s1", Random(1).randrange, free, KEY_NAME_LENGTH
        )
        assert drawn == AESBlocks(KEY).encrypt(keyed.tag("s1") + b"n" * 10)

    def test_servers_that_come_and_go_leave_the_identifiers_of_the_others_alone(self) -> None:
        luck = Random(3)
        full = KeyedScheme(SERVERS, [AESBlocks(KEY)], lambda: luck.randbytes(10))
        fewer = KeyedScheme(("s9", "s3", "s1"), [AESBlocks(KEY)])
        for server in SERVERS:
            drawn = full.draw(server, luck.randrange, free, LENGTH)
            assert fewer.owner(drawn) == (server if server in ("s1", "s3") else None)

    def test_the_block_is_aes_128_as_in_fips_197(self) -> None:
        blocks = AESBlocks(bytes(range(16)))
        plain = bytes.fromhex("00112233445566778899aabbccddeeff")
        assert blocks.encrypt(plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
        assert blocks.decrypt(blocks.encrypt(plain)) == plain
        assert blocks.encrypt(plain) == blocks.encrypt(plain), "blocks are chained"


class TestSeeded:
    @given(FARMS, LUCK)
    def test_a_server_needs_no_seed_but_its_own(self, servers: list[str], luck: Random) -> None:
        seeds = {server: luck.randbytes(32) for server in servers}
        balancer = SeededScheme(seeds)
        for server in servers:
            alone = SeededScheme({server: seeds[server]})
            drawn = alone.draw(server, luck.randrange, free, LENGTH)
            assert balancer.owner(drawn) == server
            assert alone.owner(drawn) == server

    def test_a_foreign_seed_makes_nothing_that_routes(self) -> None:
        luck = Random(1)
        mine = make("seeded", SERVERS, luck)
        foreign = SeededScheme({"s1": luck.randbytes(seeded.SEED_LENGTH)})
        for _ in range(100):
            assert mine.owner(foreign.draw("s1", luck.randrange, free, LENGTH)) is None


class TestFunction:
    def scheme(self, function: Callable[[bytes], Any]) -> tuple[FunctionScheme, list[str]]:
        said: list[str] = []
        return FunctionScheme(function, SERVERS, said.append, time.monotonic), said

    @pytest.mark.parametrize("length", [1, 16, 32])
    def test_it_gets_16_bytes_whatever_the_client_brought(self, length: int) -> None:
        given_to: list[bytes] = []
        scheme, said = self.scheme(given_to.append)
        assert scheme.owner(b"x" * length) is None
        assert given_to == [(b"x" * length)[:16].ljust(16, b"\0")]
        assert said == [], "None is an answer, not a fault"

    @pytest.mark.parametrize("error", [ValueError("bad digit"), KeyError("k"), RecursionError()])
    def test_one_that_raises_is_named_and_the_client_is_served_all_the_same(
        self, error: Exception
    ) -> None:
        def function(identifier: bytes) -> str | None:
            raise error

        scheme, said = self.scheme(function)
        assert scheme.owner(b"x" * 32) is None
        assert [type(error).__name__ in line for line in said] == [True]
        assert str(error) in said[0]

    @pytest.mark.parametrize("answer", ["s5", "", "S1", 1, b"s1", True])
    def test_one_that_returns_an_unknown_server_is_named(self, answer: object) -> None:
        scheme, said = self.scheme(lambda identifier: answer)
        assert scheme.owner(b"x" * 32) is None
        assert [repr(answer) in line for line in said] == [True]

    @pytest.mark.parametrize("answer", [["s1"], {"s1": 1}, {"s1"}])
    def test_one_that_returns_what_cannot_be_looked_up_does_not_break_the_balancer(
        self, answer: object
    ) -> None:
        scheme, said = self.scheme(lambda identifier: answer)
        assert scheme.owner(b"x" * 32) is None
        assert len(said) == 1

    def test_a_server_draws_although_the_function_fails_now_and_then(self) -> None:
        def function(identifier: bytes) -> str | None:
            if identifier[0] & 1:
                raise ValueError("odd")
            return SERVERS[identifier[1] % 4]

        scheme, said = self.scheme(function)
        identifier = scheme.draw("s2", Random(1).randrange, free, LENGTH)
        assert scheme.owner(identifier) == "s2"
        assert set(said) <= {"raised ValueError: odd"}


class WithDraw:
    """A function that says itself how to draw."""

    def __init__(self, offers: Callable[[str], Any]) -> None:
        self.draw = offers

    def __call__(self, identifier: bytes) -> str | None:
        return "s2" if identifier.startswith(b"two") else None


class TestFunctionThatDraws:
    def drawn(self, offers: Callable[[str], Any], length: int = LENGTH) -> bytes:
        scheme = FunctionScheme(WithDraw(offers), SERVERS, print, time.monotonic)
        return scheme.draw("s2", Random(1).randrange, free, length)

    @pytest.mark.parametrize("length", [16, LENGTH])
    def test_what_it_offers_is_given_out(self, length: int) -> None:
        asked: list[str] = []

        def offers(server: str) -> bytes:
            asked.append(server)
            return b"two".ljust(16, b"-")

        identifier = self.drawn(offers, length)
        assert identifier.startswith(b"two-------------")
        assert len(identifier) == length
        assert asked == ["s2"]

    def test_of_what_it_offers_only_what_leads_home_is_given_out(self) -> None:
        luck = Random(1)
        offered = iter([b"one".ljust(16, b"-")] * 9 + [b"two" + luck.randbytes(13)])
        assert self.drawn(lambda server: next(offered)).startswith(b"two")

    @pytest.mark.parametrize(
        ("offer", "said"),
        [
            (None, "returned None"),
            ("two" * 5 + "x", "returned 'twotwo"),
            (b"two", "returned b'two', not 16 bytes"),
            (b"two".ljust(32), "not 16 bytes"),
        ],
    )
    def test_rubbish_is_named(self, offer: object, said: str) -> None:
        with pytest.raises(NoFreeIdentifier, match=re.escape(said)):
            self.drawn(lambda server: offer)

    @pytest.mark.parametrize("error", [KeyError("no such server"), SystemExit(0)])
    def test_an_exception_is_named_and_ends_nothing(self, error: BaseException) -> None:
        def offers(server: str) -> bytes:
            raise error

        with pytest.raises(NoFreeIdentifier, match=f"draw raised {type(error).__name__}"):
            self.drawn(offers)


class TestFunctionThatFailsInMidRun:
    def test_one_that_only_raises_is_not_called_for_long(self) -> None:
        calls: list[bytes] = []

        def function(identifier: bytes) -> str | None:
            calls.append(identifier)
            raise OSError("the database is gone")

        scheme = FunctionScheme(function, SERVERS, lambda words: None, lambda: 0.0)
        with pytest.raises(NoFreeIdentifier):
            scheme.draw("s1", Random(1).randrange, free, LENGTH)
        assert len(calls) <= 110

    def test_a_client_that_knows_what_makes_it_slow_stops_the_balancer_once_not_for_ever(
        self,
    ) -> None:
        now, asked, said = 0.0, list[bytes](), list[str]()

        def function(identifier: bytes) -> str | None:
            asked.append(identifier)
            if identifier.startswith(b"slow"):
                raise TimeoutError("took more than 0.25 s")
            return "s1"

        scheme = FunctionScheme(function, SERVERS, said.append, lambda: now)
        assert scheme.owner(b"x" * 32) == "s1"
        for _ in range(100):
            assert scheme.owner(b"slow") is None
        assert len(asked) == 2
        assert said == ["raised TimeoutError: took more than 0.25 s: it is not asked for 5 s"]
        assert scheme.draw("s1", Random(1).randrange, free, LENGTH)
        now = REST
        assert scheme.owner(b"x" * 32) == "s1"

    def test_a_slow_one_holds_nobody_up_for_long(self) -> None:
        now = itertools.count()
        scheme = FunctionScheme(lambda one: None, SERVERS, print, lambda: next(now) / 10)
        with pytest.raises(NoFreeIdentifier):
            scheme.draw("s1", Random(1).randrange, free, LENGTH)
        assert next(now) < 20


@attrs.frozen
class Drawn:
    """Identifiers of one server, in the order it drew them."""

    identifiers: tuple[bytes, ...]
    length: int

    def values(self, position: int) -> Counter[int]:
        """How often each value stands in one byte."""
        return Counter(one[position] for one in self.identifiers)


MANY = 10_000


def drawn(scheme: Scheme, server: str, length: int, luck: Random) -> Drawn:
    """Ten thousand."""
    share = Share(scheme, server)
    return Drawn(tuple(share.draw(luck.randrange, free, length) for _ in range(MANY)), length)


def linkable(one: Drawn, other: Drawn) -> list[str]:
    """By what an outsider who sees many identifiers of both can tell the two servers apart."""
    found = []
    for position in range(one.length):
        # Two samples of equal size: chi-square with 255 degrees of freedom, 6 sigma are 391
        mine, theirs = one.values(position), other.values(position)
        distance = sum((mine[v] - theirs[v]) ** 2 / (mine[v] + theirs[v]) for v in {*mine, *theirs})
        if distance > 391:
            found.append(f"byte {position} is distributed otherwise ({distance:.0f})")
        # Two identifiers of one server are no more alike in a byte than any two; 6 sigma are 38
        for name, pairs in {
            "next": zip(one.identifiers, one.identifiers[1:], strict=False),
            "first": ((one.identifiers[0], each) for each in one.identifiers[1:]),
            "other's": zip(one.identifiers, other.identifiers, strict=True),
        }.items():
            alike = sum(left[position] == right[position] for left, right in pairs)
            if abs(alike - MANY / 256) > 38:
                found.append(f"byte {position} equals that of the {name} one {alike} times")
    return found


def lopsided(sample: Drawn) -> list[str]:
    """The bits that are not set in half of the identifiers, or go with the bit before."""
    count, found = len(sample.identifiers), []
    columns = [
        [one >> bit & 1 for one in map(int.from_bytes, sample.identifiers)]
        for bit in range(8 * sample.length)
    ]
    for bit, column in enumerate(columns):
        # binomial, sigma = sqrt(n) / 2; beyond 5 sigma once in 1.7 million bits
        if abs(sum(column) - count / 2) > 5 * count**0.5 / 2:
            found.append(f"bit {bit} is set {sum(column)} times")
        same = sum(a == b for a, b in itertools.pairwise(column))
        if abs(same - count / 2) > 5 * count**0.5 / 2:
            found.append(f"bit {bit} stays as it was {same} times")
    return found


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", ["keyed", "seeded"])
class TestWhatAnOutsiderSees:
    def scheme(self, kind: str, folder: Path) -> Scheme:
        luck = Random(42)
        if kind == "keyed":
            return KeyedScheme(SERVERS, [AESBlocks(luck.randbytes(16))], counted(folder, luck))
        return make(kind, SERVERS, luck)

    def test_every_bit_of_ten_thousand_identifiers_is_like_a_tossed_coin(
        self, kind: str, length: int, tmp_path: Path
    ) -> None:
        sample = drawn(self.scheme(kind, tmp_path), "s1", length, Random(length))
        assert len(set(sample.identifiers)) == MANY
        assert lopsided(sample) == []

    def test_no_byte_tells_two_servers_apart_or_two_identifiers_of_one_together(
        self, kind: str, length: int, tmp_path: Path
    ) -> None:
        scheme, luck = self.scheme(kind, tmp_path), Random(length)
        one, other = (drawn(scheme, server, length, luck) for server in ("s1", "s2"))
        assert linkable(one, other) == []


def test_the_outsider_would_see_what_a_table_of_ranges_or_bits_gives_away() -> None:
    """The statistics above have teeth."""

    def of(record: Record, luck: Random) -> Drawn:
        return Drawn(tuple(record.draw(luck.randrange, free) for _ in range(MANY)), LENGTH)

    luck = Random(1)
    ranges = [of(Record((IdRange.of_prefix(b"HOME" + bytes([n])),)), luck) for n in (1, 2)]
    links = linkable(*ranges)
    assert any(line.startswith("byte 4 is distributed otherwise") for line in links)
    assert any(line.startswith("byte 0 equals that of the next one") for line in links)
    assert any(line.startswith("byte 4 equals that of the other's one 0 times") for line in links)
    bits = [of(Record((MandatoryBits(b"\0\x10", one),)), luck) for one in (b"\0\x10", b"\0\0")]
    assert {line.split()[1] for line in linkable(*bits)} == {"1"}
    fifth_bit_of_byte_1 = 8 * (LENGTH - 2) + 4
    assert {line.split()[1] for line in lopsided(bits[0])} == {str(fifth_bit_of_byte_1)}
