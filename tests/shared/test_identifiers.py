"""What identifies a session in a hello, and in which order it is looked up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homing.shared.candidates import Candidate, Carrier, candidates
from homing.shared.client_hello import MOST_IDENTITIES, ClientHello
from homing.shared.identifiers import from_number, number, padded


def hello(
    session_id: bytes = b"", ticket: bytes | None = None, psk: tuple[bytes, ...] = ()
) -> ClientHello:
    return ClientHello(0x0303, session_id, psk, ticket)


def test_psk_comes_before_ticket_before_session_id() -> None:
    found = candidates(hello(b"s" * 32, b"t" * 16, (b"p" * 32, b"q" * 32)))
    assert found == (
        Candidate(Carrier.PSK, b"p" * 32),
        Candidate(Carrier.PSK, b"q" * 32),
        Candidate(Carrier.TICKET, b"t" * 16),
        Candidate(Carrier.SESSION_ID, b"s" * 32),
    )


def test_a_client_that_only_offers_to_take_a_ticket_is_found_by_its_session_id() -> None:
    assert candidates(hello(b"s" * 32, b"")) == (Candidate(Carrier.SESSION_ID, b"s" * 32),)


def test_a_first_visit_brings_nothing() -> None:
    assert candidates(hello()) == ()
    assert candidates(hello(ticket=b"")) == ()


def test_a_long_ticket_is_known_by_its_16_byte_key_name() -> None:
    ticket = bytes(range(208))
    assert candidates(hello(ticket=ticket)) == (Candidate(Carrier.TICKET, ticket[:16]),)
    assert candidates(hello(psk=(ticket,))) == (Candidate(Carrier.PSK, ticket[:16]),)


def test_a_psk_identity_that_is_a_drawn_identifier_is_looked_up_whole() -> None:
    drawn = bytes(range(32))
    assert candidates(hello(psk=(drawn,))) == (Candidate(Carrier.PSK, drawn),)
    assert candidates(hello(psk=(drawn + b"x",))) == (Candidate(Carrier.PSK, drawn[:16]),)


def test_a_hello_with_thousands_of_psks_costs_a_few_look_ups() -> None:
    many = tuple(n.to_bytes(32, "big") for n in range(1, 3000))
    found = candidates(hello(b"s" * 32, None, many))
    assert [each.identifier for each in found[:-1]] == list(many[:MOST_IDENTITIES])
    assert found[-1] == Candidate(Carrier.SESSION_ID, b"s" * 32)


@given(
    st.binary(max_size=32),
    st.none() | st.binary(max_size=300),
    st.lists(st.binary(min_size=1, max_size=300), max_size=30),
)
def test_no_hello_yields_an_identifier_that_cannot_be_looked_up(
    session_id: bytes, ticket: bytes | None, psk: list[bytes]
) -> None:
    found = candidates(hello(session_id, ticket, tuple(psk)))
    assert all(1 <= len(each.identifier) <= 32 for each in found)
    assert len(found) == min(len(psk), MOST_IDENTITIES) + bool(ticket) + bool(session_id)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_padded_identifiers_order_like_their_numbers(one: bytes, other: bytes) -> None:
    assert (padded(one) < padded(other)) == (number(one) < number(other))
    assert from_number(number(one)) == padded(one)
    assert len(padded(one)) == 32
