"""What who sees many identifiers learns of them under the schemes that hide the server."""

from __future__ import annotations

import itertools
from collections import Counter
from random import Random

import attrs
import pytest

from homing.shared.id_sets import IdRange, MandatoryBits
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.part import Part
from tests.assigning import assigned, free

SERVERS = ("s1", "s2", "s3", "s4")
LENGTHS = (KEY_NAME_LENGTH, LENGTH)


@attrs.frozen
class Drawn:
    """Identifiers of one server, in the order it drew them."""

    identifiers: tuple[bytes, ...]
    length: int

    def values(self, position: int) -> Counter[int]:
        """How often each value stands in one byte."""
        return Counter(one[position] for one in self.identifiers)


MANY = 10_000


def drawn(part: Part, length: int, luck: Random) -> Drawn:
    """Ten thousand."""
    return Drawn(tuple(part.draw(luck.randrange, free, length) for _ in range(MANY)), length)


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
    def test_every_bit_of_ten_thousand_identifiers_is_like_a_tossed_coin(
        self, kind: str, length: int
    ) -> None:
        sample = drawn(assigned(kind, SERVERS)["s1"], length, Random(length))
        assert len(set(sample.identifiers)) == MANY
        assert lopsided(sample) == []

    def test_no_byte_tells_two_servers_apart_or_two_identifiers_of_one_together(
        self, kind: str, length: int
    ) -> None:
        parts, luck = assigned(kind, SERVERS), Random(length)
        one, other = (drawn(parts[server], length, luck) for server in ("s1", "s2"))
        assert linkable(one, other) == []


def test_the_outsider_would_see_what_a_table_of_ranges_or_bits_gives_away() -> None:
    """The statistics above have teeth."""

    luck = Random(1)
    ranges = [drawn(IdRange.of_prefix(b"HOME" + bytes([n])), LENGTH, luck) for n in (1, 2)]
    links = linkable(*ranges)
    assert any(line.startswith("byte 4 is distributed otherwise") for line in links)
    assert any(line.startswith("byte 0 equals that of the next one") for line in links)
    assert any(line.startswith("byte 4 equals that of the other's one 0 times") for line in links)
    patterns = [MandatoryBits(b"\0\x10", one) for one in (b"\0\x10", b"\0\0")]
    bits = [drawn(one, LENGTH, luck) for one in patterns]
    assert {line.split()[1] for line in linkable(*bits)} == {"1"}
    fifth_bit_of_byte_1 = 8 * (LENGTH - 2) + 4
    assert {line.split()[1] for line in lopsided(bits[0])} == {str(fifth_bit_of_byte_1)}
