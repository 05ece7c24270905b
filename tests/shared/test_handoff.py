"""The greeting of the hand-off: what old and new servers say, and what is none of ours."""

from __future__ import annotations

import pytest

from homing.shared.handoff import Greeting, greeting, read_greeting

DIGEST = bytes(range(16))
WIRE = greeting(7, DIGEST)


def test_a_greeting_is_read_however_much_follows_it() -> None:
    for more in (b"", b"+", b"+-" * 100):
        assert read_greeting(WIRE + more) == (Greeting(7, DIGEST), more)


def test_the_greeting_of_an_older_server_is_read_without_a_digest() -> None:
    assert read_greeting(b"HOM1\0\0\0\7+") == (Greeting(7, None), b"+")


@pytest.mark.parametrize("size", range(len(WIRE)))
def test_an_incomplete_greeting_is_waited_for(size: int) -> None:
    assert read_greeting(WIRE[:size]) is None


@pytest.mark.parametrize("said", [b"x", b"HOM3", b"HTTP/1.1 400", b"hom2" + WIRE[4:]])
def test_what_is_no_greeting_is_refused_at_its_first_bytes(said: bytes) -> None:
    with pytest.raises(ValueError, match="greeting"):
        read_greeting(said)
