"""Hypothesis strategies that several test files use."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import strategies as st

from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits

IDENTIFIERS = st.binary(min_size=32, max_size=32)
HIGHEST = (1 << 256) - 1


def to_bytes(value: int) -> bytes:
    """A number as 32 bytes."""
    return value.to_bytes(32, "big")


@attrs.frozen
class Universe:
    """Identifiers that differ only in a few bits, anywhere in the 256; `base` has zeros there."""

    places: tuple[int, ...]
    base: int

    @property
    def varying(self) -> int:
        """The bits that differ, set."""
        return sum(1 << place for place in self.places)

    def at(self, small: int) -> int:
        """Identifier number `small`; larger numbers make larger identifiers."""
        return self.base | sum(
            1 << place for index, place in enumerate(self.places) if small >> index & 1
        )

    @property
    def smalls(self) -> st.SearchStrategy[int]:
        """The numbers of its identifiers."""
        return st.integers(0, (1 << len(self.places)) - 1)


@st.composite
def universes(draw: st.DrawFn) -> Universe:
    """Up to nine varying bits: side by side at either end or anywhere, or scattered."""
    count = draw(st.integers(1, 9))
    if draw(st.booleans()):
        low = draw(st.sampled_from([0, 120, 124, 128, 256 - count]) | st.integers(0, 247))
        places = list(range(low, low + count))
    else:
        places = draw(st.lists(st.integers(0, 255), min_size=1, max_size=count, unique=True))
    base = draw(st.sampled_from([0, HIGHEST]) | st.integers(0, HIGHEST))
    varying = sum(1 << place for place in places)
    return Universe(tuple(sorted(places)), base & ~varying)


@st.composite
def small_sets(draw: st.DrawFn, universe: Universe) -> IdSet:
    """A set of any kind that brute force can list, in or around `universe`."""
    kind = draw(st.sampled_from(["list", "bits", "range"]))
    if kind == "list":
        smalls = draw(st.lists(universe.smalls, min_size=1, max_size=12))
        return IdList(to_bytes(universe.at(small)) for small in smalls)
    if kind == "bits":
        mask = ~universe.varying & HIGHEST | universe.at(draw(universe.smalls))
        return MandatoryBits(to_bytes(mask), to_bytes(universe.at(draw(universe.smalls)) & mask))
    start = max(0, universe.at(draw(universe.smalls)) - draw(st.integers(0, 40)))
    return IdRange.of_numbers(start, min(HIGHEST, start + draw(st.integers(0, 300))))


@st.composite
def wide_sets(draw: st.DrawFn, universe: Universe) -> IdSet:
    """A range or mandatory bits of any size that often meet `universe`."""
    if draw(st.booleans()):
        ends = st.builds(universe.at, universe.smalls) | st.integers(0, HIGHEST)
        one, other = sorted([draw(ends), draw(ends)])
        return IdRange.of_numbers(one, other)
    places = draw(st.lists(st.sampled_from(universe.places) | st.integers(0, 255), max_size=12))
    mask = sum(1 << place for place in set(places))
    like = universe.at(draw(universe.smalls))
    flipped = draw(st.sampled_from([0, 0, 0, *(1 << place for place in places)]))
    return MandatoryBits(to_bytes(mask), to_bytes((like ^ flipped) & mask))


def any_sets(universe: Universe) -> st.SearchStrategy[IdSet]:
    """A set of any kind and size that often meets `universe`."""
    return small_sets(universe) | wide_sets(universe)


def some_small_sets() -> st.SearchStrategy[IdSet]:
    """A small set of any kind, anywhere."""
    return universes().flatmap(small_sets)


def some_sets() -> st.SearchStrategy[IdSet]:
    """A set of any kind and size, anywhere."""
    return universes().flatmap(any_sets)


def always(value: int) -> Callable[[int], int]:
    """A source of randomness that says `value` whatever it is asked."""
    return lambda below: value
