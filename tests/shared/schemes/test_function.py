"""The user's own function: what it may do wrong, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from homing.shared.by_function import ByFunction
from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import LENGTH
from homing.shared.schemes.function import UserFunction
from tests.assigning import free

SERVERS = ("s1", "s2", "s3", "s4")


def users(function: Callable[[bytes], Any]) -> tuple[UserFunction, list[str]]:
    """A function, and what is said of it."""
    said: list[str] = []
    return UserFunction(function, SERVERS, said.append), said


def draw(function: Callable[[bytes], Any], length: int = LENGTH) -> bytes:
    return ByFunction("function", users(function)[0], "s2").draw(Random(1).randrange, free, length)


@pytest.mark.parametrize("length", [1, 16, 32])
def test_it_gets_16_bytes_whatever_the_client_brought(length: int) -> None:
    given_to: list[bytes] = []
    function, said = users(given_to.append)
    assert function.owner(b"x" * length) is None
    assert given_to == [(b"x" * length)[:16].ljust(16, b"\0")]
    assert said == [], "None is an answer, not a fault"


@pytest.mark.parametrize("error", [ValueError("bad digit"), RecursionError(), SystemExit(1)])
def test_one_that_raises_is_named_and_the_client_is_served_all_the_same(
    error: BaseException,
) -> None:
    def raises(identifier: bytes) -> str | None:
        raise error

    function, said = users(raises)
    assert function.owner(b"x" * 32) is None
    assert said == [f"raised {type(error).__name__}: {error}"]


@pytest.mark.parametrize("answer", ["s5", "", "S1", 1, b"s1", True, ["s1"], {"s1": 1}, {"s1"}])
def test_one_that_returns_an_unknown_server_is_named(answer: object) -> None:
    function, said = users(lambda identifier: answer)
    assert function.owner(b"x" * 32) is None
    assert said == [f"returned {answer!r}, which is no server"]


def test_a_server_draws_although_the_function_fails_now_and_then() -> None:
    def fails_for_odd(identifier: bytes) -> str | None:
        if identifier[0] & 1:
            raise ValueError("odd")
        return SERVERS[identifier[1] % 4]

    identifier = draw(fails_for_odd)
    assert users(fails_for_odd)[0].owner(identifier) == "s2"


def test_one_that_never_names_the_server_is_not_called_for_ever() -> None:
    asked: list[bytes] = []
    with pytest.raises(NoFreeIdentifier, match=r"for s2, .* 4000 tries"):
        draw(asked.append)
    assert len(asked) == 4000


class WithDraw:
    """A function that says itself how to draw."""

    def __init__(self, offers: Callable[[str], Any]) -> None:
        self.draw = offers

    def __call__(self, identifier: bytes) -> str | None:
        return "s2" if identifier.startswith(b"two") else None


class TestFunctionThatDraws:
    @pytest.mark.parametrize("length", [16, LENGTH])
    def test_of_what_it_offers_what_leads_home_is_given_out(self, length: int) -> None:
        asked: list[str] = []
        offered = iter([b"one".ljust(16, b"-")] * 9 + [b"two".ljust(16, b"-")])

        def offers(server: str) -> bytes:
            asked.append(server)
            return next(offered)

        identifier = draw(WithDraw(offers), length)
        assert identifier.startswith(b"two-------------")
        assert len(identifier) == length
        assert asked == ["s2"] * 10

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
            draw(WithDraw(lambda server: offer))

    def test_an_exception_is_the_reason_why_there_is_no_identifier(self) -> None:
        def offers(server: str) -> bytes:
            raise KeyError("no such server")

        with pytest.raises(NoFreeIdentifier, match="draw raised KeyError: 'no such server'"):
            draw(WithDraw(offers))
