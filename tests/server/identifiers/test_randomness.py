"""Numbers for identifiers: none out of bounds, all as likely."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.server.identifiers import randomness
from homing.server.identifiers.randomness import randbelow


@given(st.integers(1, 1 << 256))
def test_a_number_is_below_its_bound_whatever_that_is(below: int) -> None:
    assert 0 <= randbelow(below) < below


@pytest.mark.parametrize("below", [1, 2, 3, 7, 8, 9, 255, 256, 257, 1000])
def test_no_number_is_likelier_than_another(below: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all bytes that the kernel may give, as many lead to each."""
    size = ((below - 1).bit_length() + 7) // 8
    given_out = Counter[int]()
    for value in range(1 << 8 * size):
        from_the_kernel = iter([value.to_bytes(size, "big")])
        monkeypatch.setattr(randomness, "urandom", lambda _, of=from_the_kernel: next(of))
        with suppress(StopIteration):  # these bytes lead to none: it asks for others
            given_out[randbelow(below)] += 1
    assert sorted(given_out) == list(range(below))
    assert len(set(given_out.values())) == 1


@pytest.mark.parametrize("below", [0, -1])
def test_there_is_no_number_below_the_first(below: int) -> None:
    with pytest.raises(ValueError, match="below"):
        randbelow(below)
