"""ServerHellos of servers that keep to no record: the ID is read, nothing they send is an error."""

from __future__ import annotations

import itertools
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.server_hello import GivenOutReader, RecordWalker, ServerHello, ServerHelloReader
from tests.tls import certificates, client_context

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["TLS 1.2", "TLS 1.3"])


CCS = b"\x14\3\3\0\1\1"


@cache
def whole_handshake(version: ssl.TLSVersion, resumed: bool = False) -> tuple[bytes, bytes]:
    """All that a real server says up to its last message, and the session's ID."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().certificate, certificates().key)
    context.options |= ssl.OP_NO_TICKET
    session = None
    for _ in range(1 + resumed):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(to_server, to_client, server_side=True)
        client = client_context(version).wrap_bio(
            came := ssl.MemoryBIO(), to_server, server_hostname="localhost", session=session
        )
        said = b""
        for side in (client, server) * 3:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
            fresh = to_client.read()
            said += fresh
            came.write(fresh)
        session = client.session
        for side in (server, client):  # an orderly end, or the server drops the session
            with suppress(ssl.SSLWantReadError):
                side.unwrap()
            came.write(to_client.read())
        assert client.session_reused is (resumed and _ == 1)
    assert session is not None
    return said, session.id


def flight(version: ssl.TLSVersion) -> bytes:
    """What a real server answers to a real client's hello."""
    said, _ = whole_handshake(version)
    return said[: said.index(CCS)]


def records(stream: bytes) -> list[bytes]:
    """The TLS records of a stream, whole."""
    found = []
    while stream:
        end = 5 + struct.unpack(">H", stream[3:5])[0]
        found.append(stream[:end])
        stream = stream[end:]
    return found


def record(payload: bytes) -> bytes:
    """A handshake record."""
    return b"\x16\3\3" + struct.pack(">H", len(payload)) + payload


def message(body: bytes, kind: int = 2) -> bytes:
    """A handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def body(
    session_id: bytes = b"I" * 32, extensions: Sequence[tuple[int, bytes]] | None = ()
) -> bytes:
    """A ServerHello's; without the field for extensions where they are None."""
    start = b"\3\3" + b"R" * 32 + bytes([len(session_id)]) + session_id + b"\xc0\x2b\0"
    if extensions is None:
        return start
    block = b"".join(struct.pack(">HH", kind, len(data)) + data for kind, data in extensions)
    return start + struct.pack(">H", len(block)) + block


def read(*pieces: bytes) -> ServerHello | None:
    """What is found; every piece after the one that ends it must be ignored."""
    reader = ServerHelloReader()
    found = [hello for hello in map(reader.feed, pieces) if hello is not None]
    assert len(found) <= 1
    assert len(reader._data) <= 4096
    if found:
        assert reader.done
    return found[0] if found else None


class TestRealServers:
    def test_the_id_that_a_tls12_server_gives_out_is_read(self) -> None:
        hello = read(flight(TLS12))
        assert hello is not None
        assert len(hello.session_id) == 32
        assert not hello.is_tls13
        # type, length, version, random: the ID stands at offset 44 of the stream, its length before
        assert flight(TLS12)[43:76] == b"\x20" + hello.session_id

    def test_the_echo_of_a_tls13_server_is_told_from_an_id(self) -> None:
        hello = read(flight(TLS13))
        assert hello is not None
        assert hello.is_tls13

    @VERSIONS
    def test_it_arrives_cut_at_any_byte_and_is_read_all_the_same(
        self, version: ssl.TLSVersion
    ) -> None:
        whole = flight(version)
        expected = read(whole)
        first = len(records(whole)[0])
        for cut in range(first + 1):
            assert read(whole[:cut], whole[cut:]) == expected, cut
            reader = ServerHelloReader()
            assert reader.feed(whole[:cut]) == (expected if cut == first else None)
            assert reader.done is (cut == first), "it waits in vain, or gives up early"

    @VERSIONS
    def test_it_arrives_byte_by_byte(self, version: ssl.TLSVersion) -> None:
        whole = flight(version)
        assert read(*(whole[at : at + 1] for at in range(len(whole)))) == read(whole)

    def test_a_server_that_packs_its_flight_into_one_record_is_read_too(self) -> None:
        """As Java and Windows do (RFC 8446, 5.1 allows it)."""
        handshake = [one for one in records(flight(TLS12)) if one[0] == 22]
        packed = record(b"".join(one[5:] for one in handshake))
        assert read(packed) == read(flight(TLS12))

    def test_a_long_certificate_chain_in_the_same_record_does_not_hide_the_id(self) -> None:
        packed = record(message(body(b"J" * 32)) + message(b"c" * 9000, kind=11))
        pieces = [packed[at : at + 1460] for at in range(0, len(packed), 1460)]
        assert read(*pieces) == ServerHello(b"J" * 32, False)

    def test_what_follows_is_left_alone(self) -> None:
        reader = ServerHelloReader()
        assert reader.feed(flight(TLS12)) is not None
        assert reader.feed(flight(TLS12)) is None, "a second hello of one connection counts"


class TestMadeUpServers:
    @given(
        st.binary(max_size=32), st.sampled_from([None, [], [(23, b"")], [(0, b""), (16, b"h2")]])
    )
    def test_ids_of_any_length_are_read_with_and_without_extensions(
        self, session_id: bytes, extensions: Sequence[tuple[int, bytes]] | None
    ) -> None:
        wire = record(message(body(session_id, extensions)))
        assert read(wire) == ServerHello(session_id, False)

    @given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=60)), max_size=8))
    def test_tls13_is_known_by_its_extension_and_nothing_that_looks_like_it(
        self, extensions: list[tuple[int, bytes]]
    ) -> None:
        hello = read(record(message(body(extensions=extensions))))
        assert hello == ServerHello(b"I" * 32, 43 in [kind for kind, _ in extensions])

    def test_a_hello_retry_request_is_tls13(self) -> None:
        hello = read(record(message(body(extensions=[(43, b"\3\4"), (51, b"\0\x1d")]))))
        assert hello == ServerHello(b"I" * 32, True)

    @pytest.mark.parametrize(
        "wire",
        [
            b"\x15\3\3\0\2\2\x28",  # a fatal alert: handshake_failure
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            record(message(b"", kind=0)),  # HelloRequest
            record(message(body(), kind=1)),
            record(message(b"short")),
            record(message(b"")),
            record(message(b"\2" + body()[1:])),  # a version before SSL 3
            record(message(b"\3\3" + bytes(32) + b"\x21" + bytes(60))),  # an ID of 33 bytes
        ],
        ids=lambda wire: wire[:6].hex(),
    )
    def test_what_is_no_server_hello_ends_it_without_an_error(self, wire: bytes) -> None:
        reader = ServerHelloReader()
        assert reader.feed(wire) is None
        assert reader.done
        assert reader.feed(flight(TLS12)) is None

    @given(st.integers(4, 32))
    def test_an_id_that_is_cut_off_by_the_end_of_its_message_is_not_learned(
        self, missing: int
    ) -> None:
        """Else a broken server would own an ID that it never gave out."""
        reader = ServerHelloReader()
        assert reader.feed(record(message(body(extensions=None)[:-missing]))) is None
        assert reader.done


class TestGarbage:
    @given(st.lists(st.binary(max_size=400), max_size=30))
    def test_nothing_raises_and_nothing_piles_up(self, pieces: list[bytes]) -> None:
        read(*pieces)

    @given(st.lists(st.binary(min_size=1, max_size=3000), min_size=3, max_size=10), st.data())
    def test_a_record_that_never_ends_is_given_up(
        self, pieces: list[bytes], data: st.DataObject
    ) -> None:
        reader = ServerHelloReader()
        start = b"\x16\3\3\xff\xff\2" + data.draw(st.sampled_from([b"\xff\xff\xff", b"\0\xff\0"]))
        assert reader.feed(start) is None
        for piece in pieces:
            assert reader.feed(piece) is None
            assert len(reader._data) <= 4096
        assert reader.done or sum(map(len, pieces)) + len(start) < 4096

    @given(
        st.sampled_from([TLS12, TLS13]),
        st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), min_size=1, max_size=6),
        st.integers(0, 400),
    )
    def test_a_damaged_hello_is_read_or_not_but_never_an_error(
        self, version: ssl.TLSVersion, changes: list[tuple[int, int]], cut: int
    ) -> None:
        wire = bytearray(flight(version))
        for place, value in changes:
            wire[place] = value
        hello = read(bytes(wire[:cut]), bytes(wire[cut:]))
        if hello is not None:
            assert hello.session_id == bytes(wire[44 : 44 + wire[43]])
            assert len(hello.session_id) == wire[43] <= 32

    @given(st.binary(max_size=200))
    def test_broken_extensions_hide_no_id(self, rubbish: bytes) -> None:
        wire = record(message(body(extensions=None) + rubbish))
        hello = read(wire)
        assert hello is not None
        assert hello.session_id == b"I" * 32


FINISHED = record(b"encrypted" * 5)


def learned(*pieces: bytes) -> list[bytes]:
    """What is learned from them."""
    reader = GivenOutReader()
    found = [one for one in map(reader.feed, pieces) if one is not None]
    assert len(reader._records._header) < 5
    return found


class TestWhatIsLearned:
    @pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
    def test_the_session_of_a_finished_handshake_is_learned_however_it_is_cut(
        self, resumed: bool
    ) -> None:
        said, session_id = whole_handshake(TLS12, resumed)
        assert learned(said) == [session_id]
        for cut in range(len(said)):
            assert learned(said[:cut], said[cut:]) == [session_id], cut
        assert learned(*(said[at : at + 1] for at in range(len(said)))) == [session_id]

    def test_a_handshake_that_its_client_leaves_is_not_learned(self) -> None:
        assert learned(flight(TLS12)) == []
        said, session_id = whole_handshake(TLS12)
        up_to = said.index(CCS)
        assert learned(said[:up_to]) == []
        assert learned(said[:up_to], said[up_to:]) == [session_id]

    def test_an_alert_in_its_place_ends_it(self) -> None:
        said, _ = whole_handshake(TLS12)
        up_to = said.index(CCS)
        assert learned(said[:up_to] + b"\x15\3\3\0\2\2\x28" + said[up_to:]) == []

    def test_tls13_has_a_change_cipher_spec_and_nothing_to_learn(self) -> None:
        said, _ = whole_handshake(TLS13)
        assert CCS in said
        assert learned(said) == []

    def test_a_session_without_an_id_is_not_learned(self) -> None:
        assert learned(record(message(body(b""))) + CCS + FINISHED) == []

    def test_a_change_cipher_spec_before_the_hello_is_none(self) -> None:
        assert learned(CCS + record(message(body())) + CCS) == []

    def test_a_flight_that_never_ends_is_given_up(self) -> None:
        reader = GivenOutReader()
        assert reader.feed(record(message(body()))) is None
        for _ in range(20):
            assert reader.feed(record(bytes(16384))) is None
        assert reader.done
        assert reader.feed(CCS) is None

    @given(st.lists(st.binary(max_size=400), max_size=30))
    def test_nothing_raises_whatever_comes(self, pieces: list[bytes]) -> None:
        learned(*pieces)
        learned(record(message(body())), *pieces)

    @given(
        st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=20),
        st.lists(st.integers(1, 40), min_size=1, max_size=10),
    )
    def test_records_are_told_apart_wherever_they_are_cut(
        self, sent: list[tuple[int, bytes]], steps: list[int]
    ) -> None:
        stream = b"".join(
            bytes([kind]) + b"\3\3" + struct.pack(">H", len(data)) + data for kind, data in sent
        )
        walker = RecordWalker()
        kinds: list[int] = []
        at = 0
        for step in itertools.cycle(steps):
            kinds += walker.feed(stream[at : at + step])
            at += step
            if at >= len(stream):
                break
        assert kinds == [kind for kind, _ in sent]
        assert walker.passed == len(stream)
