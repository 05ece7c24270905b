"""The schemes that assign sets: nobody's identifier is another's, and what is drawn comes home."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.table import Table
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlap
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.schemes.arena import ARENA_PREFIX
from homing.shared.schemes.base import AllocationError, Need
from tests.assigning import assigned, free, owner, records
from tests.strategies import IDENTIFIERS

SHARES = st.fractions(Fraction(1, 1000), Fraction(99, 100), max_denominator=1000)
MOST = {"range": st.integers(1, 1 << 130) | st.integers(1, 1 << 220), "list": st.integers(1, 60)}
OCCUPIED: st.SearchStrategy[list[IdSet]] = st.lists(
    st.builds(
        IdRange.of_prefix,
        st.sampled_from([b"HOM", b"HOME", b"HOMEx", b"HOMF", b"HOMG1", b"\x80"]),
    )
    | st.builds(IdList, st.lists(IDENTIFIERS, min_size=1, max_size=3))
    | st.just(IdList([b"HOME1", b"HOMF1"]))
    | st.just(MandatoryBits(b"\xff\xff\xff\x01", b"HOM\x01"))
    | st.just(MandatoryBits(b"\1", b"\1")),
    max_size=3,
)
SPARES = st.fractions(0, Fraction(9, 10), max_denominator=100)


@st.composite
def needs(draw: st.DrawFn, scheme: str) -> list[Need]:
    """What servers may ask of a scheme."""
    names = draw(
        st.lists(st.text("abcs0123456789", min_size=1, max_size=8), max_size=20, unique=True)
    )
    kinds = [
        "nothing",
        *(["share"] if scheme == "range" else []),
        *(["most"] if scheme in MOST else []),
    ]
    asked = []
    for name in names:
        kind = draw(st.sampled_from(kinds))
        share = draw(SHARES) if kind == "share" else None
        asked.append(Need(name, share, draw(MOST[scheme]) if kind == "most" else None))
    return asked


@pytest.mark.parametrize("scheme", ["range", "bits", "list"])
class TestAnyFarm:
    @given(st.data(), OCCUPIED, SPARES, st.integers().map(Random))
    def test_no_two_servers_share_an_identifier_and_what_they_draw_comes_home(
        self, scheme: str, data: st.DataObject, occupied: list[IdSet], spare: Fraction, luck: Random
    ) -> None:
        asked = data.draw(needs(scheme))
        try:
            parts = assigned(scheme, asked, occupied, spare=spare, cache=20)
        except AllocationError as error:
            assert "leave no room" in str(error) or "nothing is left" in str(error)
            return
        assert list(parts) == [need.owner for need in asked]
        sets = [part for part in parts.values() if isinstance(part, IdSet)]
        assert len(sets) == len(asked)
        assert not any(overlap(one, other) for one, other in combinations(sets, 2))
        assert not any(overlap(one, other) for one in sets for other in occupied)
        # the random session ID of a TLS 1.3 client almost never hits
        assert Fraction(sum(one.count() for one in sets), 1 << 256) <= Fraction(1, 1 << 16)
        table = Table.of_records(records(parts))
        for name, part in parts.items():
            for length in (KEY_NAME_LENGTH, LENGTH):
                identifier = part.draw(luck.randrange, free, length)
                assert len(identifier) == length
                assert owner(table, identifier) == name
        for need, one in zip(asked, sets, strict=True):
            for end in (one.first, one.last):  # the key name of a ticket is enough
                assert owner(table, end[:KEY_NAME_LENGTH]) == owner(table, end) == need.owner

    def test_a_farm_whose_ids_leave_no_room_is_refused_in_words(self, scheme: str) -> None:
        with pytest.raises(AllocationError, match="leave no room"):
            assigned(scheme, ["s1"], [MandatoryBits(b"", b"")])

    def test_an_empty_farm_needs_nothing(self, scheme: str) -> None:
        assert assigned(scheme, []) == {}


@pytest.mark.parametrize("scheme", ["range", "bits"])
class TestArena:
    @pytest.mark.parametrize(
        ("own", "prefix"),
        [
            (IdRange.of_prefix(b"SRVA"), ARENA_PREFIX),
            (IdRange.of_prefix(b"HOME\x80"), b"HOMF"),
            (IdRange(b"HOM", b"HON0"), b"HON1"),
        ],
    )
    def test_ids_that_servers_bring_themselves_move_the_arena_where_they_overlap_it(
        self, scheme: str, own: IdSet, prefix: bytes
    ) -> None:
        (part,) = assigned(scheme, ["s1"], [own], spare=Fraction(0)).values()
        assert part.draw(Random(1).randrange, free).startswith(prefix)


class TestBits:
    @pytest.mark.parametrize("servers", [1, 2, 3, 4, 7, 8, 100, 255, 256, 1000])
    def test_a_pattern_stays_spare_and_every_server_gets_as_many(self, servers: int) -> None:
        parts = assigned("bits", [f"s{number}" for number in range(servers)])
        masks = {one.mask_number for one in parts.values() if isinstance(one, MandatoryBits)}
        assert len(masks) == 1, "one mask: one look-up"
        patterns = 1 << masks.pop().bit_count() - 8 * len(ARENA_PREFIX)
        assert servers < patterns <= 2 * servers
        each = IdRange.of_prefix(ARENA_PREFIX).count() // patterns
        assert {part.count() for part in parts.values()} == {each}

    def test_a_server_that_fits_the_spare_patterns_moves_nobody(self) -> None:
        before, after = (assigned("bits", names.split()) for names in ("a b c d", "a b c d e"))
        assert {name: after[name] for name in before} == before
