"""The quick reader of usual hellos says what the thorough one says, or leaves it to that one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.candidates import candidates
from homing.shared.client_hello import MOST_EXTENSIONS, MOST_IDENTITIES, MOST_RECORDS, ClientHello
from homing.shared.usual_hello import Brought, read_usual
from tests.costly_hellos import SIZES, read_at_once, shapes
from tests.sample_hellos import (
    SAMPLES,
    SESSION_TICKET,
    Parts,
    Sample,
    message,
    psk_offer,
    records,
    sample,
    take_apart,
    wire_of,
)

each_sample = pytest.mark.parametrize("recorded", SAMPLES, ids=lambda recorded: recorded.name)
BINDER = bytes(32)


def thoroughly(wire: bytes) -> Brought | None:
    """What the thorough reader finds; None where that is no whole hello."""
    hello = read_at_once(wire)
    if not isinstance(hello, ClientHello):
        return None
    return [(one.carrier, one.identifier) for one in candidates(hello)]


def agree(wire: bytes) -> bool:
    """Whether the quick reader leaves it, or reads it alike."""
    return read_usual(wire) in (None, thoroughly(wire))


@each_sample
def test_every_real_clients_hello_is_usual_and_read_alike(recorded: Sample) -> None:
    assert read_usual(recorded.wire) == thoroughly(recorded.wire) is not None
    assert read_usual(recorded.wire + b"more") == thoroughly(recorded.wire)


@each_sample
def test_a_hello_that_is_cut_is_left_to_the_other_reader_wherever_it_is_cut(
    recorded: Sample,
) -> None:
    for cut in range(len(recorded.wire)):
        assert read_usual(recorded.wire[:cut]) is None


@each_sample
def test_a_byte_that_is_changed_anywhere_never_makes_them_disagree(recorded: Sample) -> None:
    wire = bytearray(recorded.wire)
    for at, byte in enumerate(recorded.wire[:700]):
        for changed in {0, 255, byte ^ 1, byte ^ 0x80, (byte + 1) % 256} - {byte}:
            wire[at] = changed
            assert agree(bytes(wire)), (at, changed)
        wire[at] = byte


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=8),
    st.binary(max_size=20),
)
def test_bytes_that_are_changed_together_never_make_them_disagree(
    recorded: Sample, changes: list[tuple[int, int]], more: bytes
) -> None:
    wire = bytearray(recorded.wire)
    for at, byte in changes:
        wire[at % len(wire)] = byte
    assert agree(bytes(wire))
    assert agree(bytes(wire) + more)


@given(st.binary(max_size=300))
def test_rubbish_behind_a_good_beginning_never_makes_them_disagree(rubbish: bytes) -> None:
    body = take_apart(sample("openssl-default-first").body).body[:35]
    for cut in (0, 34, 35):
        assert agree(records(message(body[:cut] + rubbish), [1 << 14]))


def parts(*extensions: tuple[int, bytes]) -> Parts:
    """A hello with a session ID and these extensions."""
    return take_apart(sample("openssl-resume-sid").body).having(*extensions)


@pytest.mark.parametrize(
    ("extensions", "count"),
    [
        ([], 1),
        ([(SESSION_TICKET, b"")], 1),
        ([(SESSION_TICKET, b"t" * 32)], 2),
        ([(SESSION_TICKET, b"t" * 33), psk_offer([b"p"] * MOST_IDENTITIES, [BINDER])], 10),
        ([(n + 100, b"") for n in range(MOST_EXTENSIONS)], 1),
        ([(n << 8 | SESSION_TICKET, b"t") for n in range(1, 9)], 1),
    ],
)
def test_what_is_allowed_is_read_in_order(extensions: list[tuple[int, bytes]], count: int) -> None:
    wire = wire_of(parts(*extensions))
    brought = read_usual(wire)
    assert brought is not None
    assert len(brought) == count
    assert brought == thoroughly(wire)


@pytest.mark.parametrize(
    "extensions",
    [
        [(SESSION_TICKET, b"t")] * 2,
        [(SESSION_TICKET, b""), (SESSION_TICKET, b"t")],
        [psk_offer([b"p"], [BINDER]), (SESSION_TICKET, b"")],
        [psk_offer([b"p"], [BINDER])] * 2,
        [psk_offer([], [BINDER])],
        [psk_offer([b"p", b""], [BINDER])],
        [psk_offer([b"p"] * (MOST_IDENTITIES + 1), [BINDER])],
        [(n + 100, b"") for n in range(MOST_EXTENSIONS + 1)],
    ],
)
def test_what_is_odd_is_left_to_the_other_reader(extensions: list[tuple[int, bytes]]) -> None:
    assert read_usual(wire_of(parts(*extensions))) is None


def test_a_hello_in_two_records_is_left_to_the_other_reader() -> None:
    whole = sample("curl-resume-psk").message
    assert read_usual(records(whole, [len(whole) - 1, 1])) is None


@pytest.mark.parametrize("size", SIZES)
def test_hellos_made_to_cost_much_never_make_them_disagree(size: int) -> None:
    for wire in shapes(size, (MOST_RECORDS, MOST_EXTENSIONS, MOST_IDENTITIES)):
        assert agree(wire)
