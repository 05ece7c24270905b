"""The ClientHello reader on recorded hellos, however they are cut, and on hostile input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import cycle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.client_hello import (
    CEILING,
    MOST_EXTENSIONS,
    MOST_IDENTITIES,
    MOST_RECORDS,
    ClientHello,
    ClientHelloReader,
    NeedMore,
    NotClientHello,
    Outcome,
)
from homing.shared.fields import Malformed
from homing.shared.hello_details import alpn, server_name, versions
from tests.costly_hellos import lines_of, read_body
from tests.sample_hellos import (
    ALPN,
    PRE_SHARED_KEY,
    READ,
    SAMPLES,
    SERVER_NAME,
    SESSION_TICKET,
    SUPPORTED_VERSIONS,
    Extension,
    Parts,
    Sample,
    large_hello,
    message,
    padded_to,
    psk_offer,
    records,
    sample,
    take_apart,
    vector,
    wire_of,
)

each_sample = pytest.mark.parametrize("recorded", SAMPLES, ids=lambda recorded: recorded.name)
BINDER = bytes(32)
LARGE = take_apart(large_hello()[9:])


def read(pieces: Iterable[bytes]) -> Outcome:
    """What a fresh reader makes of `pieces`, fed one by one until it has an answer."""
    reader = ClientHelloReader()
    outcome: Outcome = NeedMore(1)
    for piece in pieces:
        outcome = reader.feed(piece)
        if not isinstance(outcome, NeedMore):
            break
    return outcome


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces of `sizes`, which start over when they run out."""
    at = 0
    for size in cycle(sizes):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


def some_records(whole: bytes, sizes: list[int]) -> bytes:
    """`whole` in records of `sizes`, as many as may be; what is left comes in the last."""
    at = 0
    cuts: list[int] = []
    for size in cycle(sizes):
        if at + size >= len(whole) or len(cuts) == MOST_RECORDS - 1:
            return records(whole, [*cuts, len(whole) - at])
        cuts.append(size)
        at += size
    raise ValueError("no sizes")


def hello_in(recorded: Sample) -> ClientHello:
    outcome = read_body(recorded.body)
    assert isinstance(outcome, ClientHello)
    return outcome


ALPN_OF = {"curl": (b"http/1.0",), "chromium": (b"h2", b"http/1.1")}


class TestRealClients:
    @each_sample
    def test_a_real_client_is_understood(self, recorded: Sample) -> None:
        hello = read([recorded.wire])
        assert isinstance(hello, ClientHello)
        assert len(hello.session_id) == recorded.session_id
        ticket = None if hello.session_ticket is None else len(hello.session_ticket)
        assert ticket == recorded.ticket
        assert tuple(map(len, hello.psk_identities)) == recorded.psk
        assert (0x0304 in versions(hello)) == recorded.tls13
        assert server_name(hello) == "localhost"
        assert hello.legacy_version == 0x0303
        assert alpn(hello) == ALPN_OF.get(recorded.name.partition("-")[0], ())

    @each_sample
    def test_identifiers_are_the_very_bytes_the_client_sent(self, recorded: Sample) -> None:
        hello = hello_in(recorded)
        parts = take_apart(recorded.body)
        assert hello.session_id == parts.session_id
        if recorded.ticket is not None:
            assert hello.session_ticket == parts.extension(SESSION_TICKET)
        if recorded.psk:
            (length,) = recorded.psk
            assert hello.psk_identities == (parts.extension(PRE_SHARED_KEY)[4 : 4 + length],)

    def test_a_browser_sized_hello_with_a_psk_is_understood(self) -> None:
        hello = read([large_hello()])
        assert hello == hello_in(sample("gnutls-resume-psk"))

    def test_a_client_without_supported_versions_offers_its_legacy_version(self) -> None:
        assert versions(hello_in(sample("openssl-first12"))) == (0x0303,)

    def test_a_hello_without_extensions_is_a_hello(self) -> None:
        assert read([wire_of(Parts(b"\3\1", session_id=b"s" * 32))]) == ClientHello(
            0x0301, b"s" * 32
        )
        assert read([wire_of(Parts(b"\3\0", extensions=()))]) == ClientHello(0x0300, b"")

    def test_a_server_name_that_is_no_ascii_is_shown_escaped(self) -> None:
        name = (SERVER_NAME, vector(2, b"\0" + vector(2, b"b\xfccher")))
        hello = read_body(Parts().having(name).body)
        assert isinstance(hello, ClientHello)
        assert server_name(hello) == r"b\xfccher"

    def test_several_psks_protocols_and_versions_keep_their_order(self) -> None:
        extensions: list[Extension] = [
            (ALPN, vector(2, vector(1, b"h2") + vector(1, b"http/1.1"))),
            (SUPPORTED_VERSIONS, vector(1, bytes.fromhex("0a0a03040303"))),
            psk_offer([b"one", b"two"], [BINDER, bytes(48)]),
        ]
        hello = read_body(Parts().having(*extensions).body)
        assert isinstance(hello, ClientHello)
        assert alpn(hello) == (b"h2", b"http/1.1")
        assert versions(hello) == (0x0A0A, 0x0304, 0x0303)
        assert hello.psk_identities == (b"one", b"two")


class TestCutting:
    @each_sample
    def test_a_hello_cut_at_any_byte_still_routes(self, recorded: Sample) -> None:
        wire, hello = recorded.wire, hello_in(recorded)
        for at in range(1, len(wire)):
            reader = ClientHelloReader()
            # Once the length is known, it asks for all the rest at once
            assert reader.feed(wire[:at]) == NeedMore((len(wire) if at >= 9 else 9) - at)
            assert reader.feed(wire[at:]) == hello

    @each_sample
    def test_a_hello_that_comes_byte_by_byte_still_routes(self, recorded: Sample) -> None:
        assert read(cut(recorded.wire, [1])) == hello_in(recorded)

    @each_sample
    def test_a_hello_in_two_records_cut_anywhere_still_routes(self, recorded: Sample) -> None:
        whole, hello = recorded.message, hello_in(recorded)
        for at in range(1, len(whole)):
            assert read([records(whole, [at, len(whole)])]) == hello

    @given(
        st.sampled_from(SAMPLES),
        st.lists(st.integers(1, 5) | st.integers(1, 700), min_size=1, max_size=20),
        st.lists(st.integers(1, 8) | st.integers(1, 900), min_size=1, max_size=20),
    )
    def test_no_choice_of_records_and_reads_hides_a_hello(
        self, recorded: Sample, record_sizes: list[int], read_sizes: list[int]
    ) -> None:
        wire = some_records(recorded.message, record_sizes)
        assert read(cut(wire, read_sizes)) == hello_in(recorded)

    @given(
        st.sampled_from(SAMPLES),
        st.lists(st.integers(1, 5) | st.integers(1, 700), min_size=1, max_size=20),
    )
    def test_no_client_waits_for_a_reader_that_waits_for_more_than_will_come(
        self, recorded: Sample, record_sizes: list[int]
    ) -> None:
        wire = some_records(recorded.message, record_sizes)
        reader = ClientHelloReader()
        assert reader.feed(b"") == NeedMore(9)
        for at in range(1, len(wire)):
            outcome = reader.feed(wire[at - 1 : at])
            assert isinstance(outcome, NeedMore)
            assert 1 <= outcome.at_least <= len(wire) - at

    @given(st.integers(16_000, 60_000), st.lists(st.integers(1, 20_000), min_size=1, max_size=20))
    def test_the_record_headers_of_a_long_hello_are_counted_in(
        self, length: int, read_sizes: list[int]
    ) -> None:
        wire = wire_of(padded_to(LARGE, length))
        reader = ClientHelloReader(1 << 16)
        fed = 0
        for piece in cut(wire[:-1], read_sizes):
            outcome = reader.feed(piece)
            fed += len(piece)
            assert isinstance(outcome, NeedMore)
            announced = fed >= 9
            assert outcome.at_least == (len(wire) if announced else 9) - fed

    def test_a_hello_that_fills_its_last_record_is_not_waited_for_any_longer(self) -> None:
        wire = wire_of(padded_to(LARGE, 2 * (1 << 14) - 4))
        for at in (9, 100, 5 + (1 << 14), 7 + (1 << 14), 10 + (1 << 14), len(wire) - 1):
            assert ClientHelloReader(1 << 16).feed(wire[:at]) == NeedMore(len(wire) - at)

    @each_sample
    def test_what_follows_a_hello_does_not_spoil_it(self, recorded: Sample) -> None:
        reader = ClientHelloReader()
        early_data = b"\x17\x03\x03\x00\x05early"
        assert reader.feed(recorded.wire + early_data) == hello_in(recorded)
        assert reader.feed(b"and more") == hello_in(recorded)


def uint_at(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def length_fields(body: bytes) -> dict[str, tuple[int, int]]:
    """The place and size of every length field in `body`, and within what Homing reads of it."""
    fields: dict[str, tuple[int, int]] = {"session id": (34, 1)}
    at = 35 + body[34]
    fields["suites"] = (at, 2)
    at += 2 + uint_at(body, at, 2)
    fields["compression"] = (at, 1)
    at += 1 + body[at]
    fields["extensions"] = (at, 2)
    at += 2
    while at < len(body):
        kind, length = uint_at(body, at, 2), uint_at(body, at + 2, 2)
        fields[f"extension {kind}"] = (at + 2, 2)
        start = at + 4
        if kind == SERVER_NAME:
            fields |= {"names": (start, 2), "name": (start + 3, 2)}
        elif kind == ALPN:
            fields |= {"protocols": (start, 2), "protocol": (start + 2, 1)}
        elif kind == SUPPORTED_VERSIONS:
            fields["versions"] = (start, 1)
        elif kind == PRE_SHARED_KEY:
            binders = start + 2 + uint_at(body, start, 2)
            fields |= {"identities": (start, 2), "identity": (start + 2, 2)}
            fields |= {"binders": (binders, 2), "binder": (binders + 2, 1)}
        at = start + length
    return fields


INSIDE_PSK = {"identities", "identity", "binders"}
INSIDE_DETAILS = {"names", "name", "protocols", "protocol", "versions"}


def lies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """`body` with one length wrong, for every length field in it and several wrong values."""
    for name, (at, size) in length_fields(body).items():
        true = uint_at(body, at, size)
        most = (1 << 8 * size) - 1
        for lie in {0, 1, true - 1, true + 1, true * 2, most - 1, most} - {true}:
            if 0 <= lie <= most:
                told = body[:at] + lie.to_bytes(size, "big") + body[at + size :]
                yield f"{name}: {lie} for {true}", told


def psk_not_last() -> Parts:
    return Parts().having(psk_offer([b"identity"], [BINDER]), (21, b""))


def twice(kind: int) -> Parts:
    """The large hello with the extension of that type doubled."""
    doubled: list[Extension] = []
    for extension in LARGE.extensions or ():
        doubled += [extension] * (2 if extension[0] == kind else 1)
    return LARGE.having(*doubled)


REFUSED_BODIES: dict[str, tuple[Parts, str]] = {
    "a session ID of 33 bytes": (Parts(session_id=bytes(33)), "session ID of 33 bytes"),
    "no cipher suite": (Parts(suites=b"", extensions=()), "cipher suites of 0 bytes"),
    "an odd cipher suite": (Parts(suites=b"\0\1\2"), "cipher suites of 3 bytes"),
    "no compression method": (Parts(compression=b"", extensions=()), "no compression"),
    "a DTLS version": (Parts(b"\xfe\xfd"), "version 0xfefd is not TLS"),
    "a PSK that is not last": (psk_not_last(), "pre_shared_key is not the last"),
    "session_ticket twice": (
        Parts().having((SESSION_TICKET, b"one"), (SESSION_TICKET, b"two")),
        "session_ticket comes twice",
    ),
    "pre_shared_key twice": (twice(PRE_SHARED_KEY), "pre_shared_key is not the last"),
    "an empty PSK identity": (Parts().having(psk_offer([b""], [BINDER])), "empty PSK identity"),
    "no PSK identity": (Parts().having(psk_offer([], [])), "no PSK identity"),
    "more after the binders": (
        Parts().having((PRE_SHARED_KEY, psk_offer([b"a"], [BINDER])[1] + b"x")),
        "pre_shared_key has 1 bytes too many",
    ),
    "too many extensions": (
        Parts().having(*[(9000 + n, b"") for n in range(MOST_EXTENSIONS + 1)]),
        "more than 64 extensions",
    ),
}

Detail = Callable[[ClientHello], object]
MALFORMED_DETAILS: dict[str, tuple[Parts, Detail, str]] = {
    "server_name twice": (twice(SERVER_NAME), server_name, "extension 0 comes twice"),
    "supported_versions twice": (twice(SUPPORTED_VERSIONS), versions, "extension 43 comes twice"),
    "an empty server name": (
        Parts().having((SERVER_NAME, vector(2, b"\0\0\0"))),
        server_name,
        "empty server",
    ),
    "no server name": (
        Parts().having((SERVER_NAME, b"\0\0")),
        server_name,
        "server name is cut off",
    ),
    "two server names": (
        Parts().having((SERVER_NAME, vector(2, b"\0\0\1a\0\0\1b"))),
        server_name,
        "server_name has 4 bytes too many",
    ),
    "a server name of another type": (
        Parts().having((SERVER_NAME, vector(2, b"\1\0\1a"))),
        server_name,
        "not a host name",
    ),
    "no protocol": (Parts().having((ALPN, b"\0\0")), alpn, "empty ALPN"),
    "an empty protocol": (Parts().having((ALPN, vector(2, b"\2h2\0"))), alpn, "empty ALPN"),
    "no version": (
        Parts().having((SUPPORTED_VERSIONS, b"\0")),
        versions,
        "supported versions of 0",
    ),
    "half a version": (
        Parts().having((SUPPORTED_VERSIONS, b"\3\3\4\3")),
        versions,
        "versions of 3",
    ),
}

REFUSED_STARTS: dict[str, tuple[bytes, str]] = {
    "http": (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "perhaps HTTP"),
    "an SSLv2 hello": (bytes.fromhex("802e010301001500000010") + bytes(37), "SSLv2"),
    "an alert": (bytes.fromhex("1503010002022800"), "first byte 0x15"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "plain text"),
    "another record version": (bytes.fromhex("160201"), "record version 2.x"),
    "an empty record": (bytes.fromhex("1603010000"), "record of 0 bytes"),
    "an oversized record": (bytes.fromhex("1603014001"), "record of 16385 bytes"),
    "another handshake message": (bytes.fromhex("160301000402"), "message 2 is not"),
    "a body too short for a hello": (bytes.fromhex("160301000401000028"), "ClientHello of 40"),
    "an empty record in the middle": (
        records(message(Parts().body), [20])[:25] + bytes.fromhex("1603010000"),
        "record of 0 bytes",
    ),
    "an alert in the middle": (
        records(message(Parts().body), [20])[:25] + bytes.fromhex("15030100020228"),
        "first byte 0x15",
    ),
}


class TestHostileClients:
    @pytest.mark.parametrize(("parts", "complaint"), REFUSED_BODIES.values(), ids=REFUSED_BODIES)
    def test_a_hello_that_breaks_the_rules_is_refused_with_its_fault(
        self, parts: Parts, complaint: str
    ) -> None:
        for outcome in (read([wire_of(parts)]), read(cut(wire_of(parts), [1]))):
            assert isinstance(outcome, NotClientHello)
            assert complaint in outcome.reason

    @pytest.mark.parametrize(
        ("parts", "detail", "complaint"), MALFORMED_DETAILS.values(), ids=MALFORMED_DETAILS
    )
    def test_what_routing_does_not_need_is_read_and_refused_only_when_asked_for(
        self, parts: Parts, detail: Detail, complaint: str
    ) -> None:
        session_id = bytes(range(32))
        hello = read([wire_of(attrs.evolve(parts, session_id=session_id))])
        assert isinstance(hello, ClientHello)
        assert hello.session_id == session_id
        with pytest.raises(Malformed, match=complaint):
            detail(hello)

    @pytest.mark.parametrize(("data", "complaint"), REFUSED_STARTS.values(), ids=REFUSED_STARTS)
    def test_what_is_no_hello_is_recognised_at_once_and_named(
        self, data: bytes, complaint: str
    ) -> None:
        for outcome in (read([data]), read(cut(data, [1])), read(cut(data, [3, 2]))):
            assert isinstance(outcome, NotClientHello)
            assert complaint in outcome.reason

    def test_text_is_recognised_by_its_first_byte(self) -> None:
        assert isinstance(ClientHelloReader().feed(b"G"), NotClientHello)

    @each_sample
    def test_a_length_that_lies_is_refused(self, recorded: Sample) -> None:
        for lie, body in lies(recorded.body):
            outcome = read([records(message(body), [1 << 14])])
            name = lie.partition(":")[0]
            if isinstance(outcome, ClientHello):
                # Other boundaries can by chance make another hello that is sound in itself.
                assert name not in INSIDE_PSK, lie
                assert take_apart(body).body == body, lie
            if name in INSIDE_DETAILS:
                assert isinstance(outcome, ClientHello), lie
                with pytest.raises(Malformed):
                    (server_name(outcome), alpn(outcome), versions(outcome))

    @each_sample
    def test_a_body_cut_short_is_refused_wherever_it_ends(self, recorded: Sample) -> None:
        parts = take_apart(recorded.body)
        bare = len(attrs.evolve(parts, extensions=None).body)
        for end in range(len(recorded.body)):
            if end != bare:  # there it is a valid hello without extensions
                assert isinstance(read_body(recorded.body[:end]), NotClientHello), end

    @each_sample
    def test_a_byte_too_many_is_refused(self, recorded: Sample) -> None:
        assert isinstance(read_body(recorded.body + b"\0"), NotClientHello)

    @given(st.binary(max_size=3000), st.lists(st.integers(1, 300), min_size=1, max_size=9))
    def test_random_bytes_never_break_the_reader(self, data: bytes, sizes: list[int]) -> None:
        assert read(cut(data, sizes)) == (read([data]) if data else NeedMore(1))

    @given(
        st.binary(min_size=41, max_size=600), st.lists(st.integers(1, 99), min_size=1, max_size=9)
    )
    def test_random_hellos_never_break_the_reader(self, body: bytes, sizes: list[int]) -> None:
        outcome = read(cut(records(message(body), [100, 7]), sizes))
        assert outcome == read_body(body)

    @given(
        st.sampled_from(sorted(READ)),
        st.binary(max_size=80),
        st.lists(st.integers(0, 255), max_size=4),
    )
    def test_random_extensions_never_break_the_parser(
        self, kind: int, content: bytes, prefix: list[int]
    ) -> None:
        outcome = read_body(Parts().having((kind, bytes(prefix) + content)).body)
        assert isinstance(outcome, ClientHello | NotClientHello)

    @pytest.mark.parametrize("read_size", [1, 7, 1 << 14])
    def test_a_hello_cut_into_fragments_of_ten_bytes_still_routes(self, read_size: int) -> None:
        recorded = sample("chromium-12-resume-ticket")
        assert read(cut(records(recorded.message, [10]), [read_size])) == hello_in(recorded)

    @pytest.mark.parametrize("read_size", [1, 7, 1 << 14])
    def test_a_hello_in_more_records_than_anybody_makes_goes_by_the_policy(
        self, read_size: int
    ) -> None:
        whole = sample("openssl-default-resume-psk").message
        most = records(whole, [1] * (MOST_RECORDS - 1) + [len(whole) - MOST_RECORDS + 1])
        assert isinstance(read(cut(most, [read_size])), ClientHello)
        over = records(whole, [1] * MOST_RECORDS + [len(whole) - MOST_RECORDS])
        assert read(cut(over, [read_size])) == NotClientHello(
            f"the hello is in more than {MOST_RECORDS} TLS records"
        )

    def test_of_many_psk_identities_the_first_route(self) -> None:
        identities = [bytes([n]) * 32 for n in range(1, 200)]
        hello = read_body(Parts().having(psk_offer(identities, [BINDER] * 200)).body)
        assert isinstance(hello, ClientHello)
        assert hello.psk_identities == tuple(identities[:MOST_IDENTITIES])


def hello_of(wire_length: int) -> bytes:
    """A valid hello that is `wire_length` bytes long on the wire, in the fewest records."""
    headers = 5 * -(-wire_length // ((1 << 14) + 5))
    wire = wire_of(padded_to(LARGE, wire_length - headers - 4))
    assert len(wire) == wire_length
    return wire


class TestCeiling:
    def test_a_hello_of_exactly_the_ceiling_still_routes(self) -> None:
        wire = hello_of(CEILING)
        for sizes in ([CEILING], [1], [1460]):
            assert isinstance(read(cut(wire, sizes)), ClientHello)

    def test_a_hello_over_the_ceiling_is_refused_as_soon_as_its_length_is_known(self) -> None:
        wire = hello_of(CEILING + 1)
        too_long = NotClientHello(f"the hello is longer than {CEILING} bytes")
        assert read([wire]) == too_long
        assert isinstance(ClientHelloReader().feed(wire[:8]), NeedMore)
        assert ClientHelloReader().feed(wire[:9]) == too_long

    def test_record_headers_count_towards_the_ceiling(self) -> None:
        wire = records(message(padded_to(LARGE, CEILING - 100).body), [120])
        assert len(wire) > CEILING
        for sizes in ([len(wire)], [1460]):
            outcome = read(cut(wire, sizes))
            assert isinstance(outcome, NotClientHello)
            assert "longer than" in outcome.reason

    def test_a_smaller_ceiling_is_kept_to_the_byte(self) -> None:
        wire = large_hello()
        assert isinstance(ClientHelloReader(len(wire)).feed(wire), ClientHello)
        assert isinstance(ClientHelloReader(len(wire) - 1).feed(wire), NotClientHello)

    @pytest.mark.parametrize("record_size", [1, 100, 1 << 14])
    def test_a_client_cannot_make_the_balancer_hold_more_than_the_ceiling(
        self, record_size: int
    ) -> None:
        ceiling = 4096
        endless = b"\1" + (ceiling - 300).to_bytes(3, "big") + bytes(3 * ceiling)
        wire = records(endless, [record_size])
        reader = ClientHelloReader(ceiling)
        for piece in cut(wire, [997]):
            outcome = reader.feed(piece)
            buffers = [v for v in vars(reader).values() if isinstance(v, bytes | bytearray)]
            assert buffers
            assert sum(map(len, buffers)) <= ceiling
        assert isinstance(outcome, NotClientHello)
        assert sum(map(len, buffers)) <= 5


@pytest.mark.parametrize("record_size", [30, 200, 1 << 14])
@pytest.mark.parametrize("read_size", [1, 1460, 1 << 16])
def test_a_slow_client_costs_no_more_a_byte_than_a_fast_one(
    record_size: int, read_size: int
) -> None:
    wires = [
        records(message(padded_to(LARGE, length).body), [record_size]) for length in (2000, 4500)
    ]
    assert all(isinstance(read(cut(wire, [read_size])), ClientHello) for wire in wires)
    short, long = (lines_of(partial(read, list(cut(wire, [read_size])))) for wire in wires)
    assert long <= 2.5 * short
