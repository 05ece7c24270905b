"""What waits in OpenSSL's memory, not in the socket, is neither forgotten nor handled twice."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

import pytest
from OpenSSL._util import lib
from twisted.internet.error import ConnectionDone, ConnectionLost

from tests.reactor import WITHIN, Blocked, call, eventually, reactor
from tests.server.running import tls_port
from tests.server.tls.by_hand import ByHand, SlowGroup
from tests.server.tls.recording import HalfCloseable, Recorder, Recorders, finished, recorded
from tests.tls import VERSIONS, reset, shake_hands

BOTH = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
WITH_A_GROUP_OR_NOT = pytest.mark.parametrize(
    "group", [None, SlowGroup()], ids=["socket", "memory"]
)
IDS = {"resumption": "ids"}


def opened(made: Recorders) -> Any:
    """The application's end of the newest connection, once its handshake is done."""
    eventually(lambda: made.made and "handshake" in made.made[-1].events)
    return made.made[-1]


def test_a_reset_by_one_client_ends_no_other() -> None:
    made = Recorders()
    with tls_port(made) as (_, port):
        gone = shake_hands(socket.create_connection(("127.0.0.1", port), WITHIN))
        ends = opened(made)
        with ByHand(port) as other:
            other.flush()
            stays = opened(made)
            record = other.write(bytes(5000)).unsent()

            def both() -> None:
                reset(gone)
                ends.wire.write(b"to one who has gone")
                other.plain.sendall(record[:1000])  # the next that OpenSSL reads

            call(both)
            finished(ends)
            assert call(lib.ERR_peek_error) == 0, "some versions end the next connection for it"
            other.plain.sendall(record[1000:])
            eventually(lambda: stays.lost or len(stays.received) == 5000)
            assert stays.lost is None


@BOTH
def test_who_resumes_when_its_writes_are_out_gets_the_records_that_came_before(
    version: ssl.TLSVersion,
) -> None:
    class OwnProducer(Recorder):
        """The classic: who does not read its answers cannot ask."""

        def connectionMade(self) -> None:
            super().connectionMade()
            self.wire.registerProducer(self.wire, True)

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.wire.write(bytes(100_000))

    made = Recorders(OwnProducer)
    with tls_port(made) as (_, port), ByHand(port, version) as client:
        client.flush()
        app = opened(made)
        client.write(b"question", 10).flush()
        assert len(client.read(1_000_000)) == 1_000_000
        call(lambda: (app.wire.unregisterProducer(), app.wire.abortConnection()))


@BOTH
def test_what_is_written_while_paused_is_sent(version: ssl.TLSVersion) -> None:
    class HasItsFill(Recorder):
        """It pauses within the last record that one turn may read, then answers."""

        left = 8

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.left -= 1
            if not self.left:
                self.wire.pauseProducing()
                reactor().callFromThread(self.wire.write, b"answer")

    made = Recorders(HasItsFill)
    with tls_port(made) as (_, port), ByHand(port, version) as client:
        client.flush()
        app = opened(made)
        client.write(bytes(1000), 12).flush()
        assert client.read(6) == b"answer"
        call(app.wire.abortConnection)


class Hesitates(Recorder):
    """Pauses while it answers, as twisted.web does."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.wire.pauseProducing()
        self.wire.write(b"answer")


@BOTH
def test_what_is_written_while_paused_and_a_group_keeps_the_session_is_sent(
    version: ssl.TLSVersion,
) -> None:
    made, group = Recorders(Hesitates), SlowGroup(0.1)
    with tls_port(made, group, IDS) as (_, port):  # type: ignore[arg-type]
        with ByHand(port, version) as client:
            client.write(b"x").flush()
            assert client.read(6) == b"answer"
            call(made.made[0].wire.abortConnection)


@BOTH
@WITH_A_GROUP_OR_NOT
def test_the_clients_goodbye_is_told_once_whatever_comes_after_it(
    version: ssl.TLSVersion, group: Any
) -> None:
    made = Recorders(HalfCloseable)
    with tls_port(made, group, IDS) as (_, port), ByHand(port, version) as client:
        last = client.write(b"x").goodbye().unsent()  # and what ends the handshake
        client.plain.sendall(last + b"\x17\x03\x03\0\x20" + bytes(32))
        eventually(lambda: made.made and "read lost" in made.made[0].events)
        app = made.made[0]
        for _ in range(3):
            call(lambda: (app.wire.pauseProducing(), app.wire.resumeProducing()))
        call(lambda: None)
        assert app.events == ["made", "handshake", "read lost"]
        call(app.wire.loseConnection)
        assert finished(app) is ConnectionDone


@BOTH
@WITH_A_GROUP_OR_NOT
def test_a_goodbye_that_came_before_ours_to_one_that_has_paused_ends_it_well(
    version: ssl.TLSVersion, group: Any
) -> None:
    class LeavesPaused(Hesitates):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.wire.loseConnection()

    made = Recorders(LeavesPaused)
    with tls_port(made, group, IDS) as (_, port), ByHand(port, version) as client:
        client.flush()
        app = opened(made)
        client.write(b"x").goodbye().flush()
        assert finished(app) is ConnectionDone


@WITH_A_GROUP_OR_NOT
def test_a_flood_of_key_updates_leaves_others_their_turns(group: Any) -> None:
    turns = 0

    class Counts(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.turns = turns

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not app.received:
            reactor().callLater(0, turn)

    made = Recorders(Counts)
    with tls_port(made, group, IDS) as (_, port), ByHand(port) as client:
        client.flush()
        app = opened(made)
        flood = client.update_keys(20_000).write(b"end").unsent()
        with Blocked():
            client.plain.setblocking(False)
            sent = client.plain.send(flood)
            client.plain.settimeout(WITHIN)
            reactor().callFromThread(turn)
        client.plain.sendall(flood[sent:])
        eventually(lambda: app.received == b"end")
        assert app.turns > len(flood) >> 17


@WITH_A_GROUP_OR_NOT
def test_who_asks_for_answers_and_reads_none_makes_neither_load_nor_heaps(group: Any) -> None:
    class LittleRoom(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)

    made = Recorders(LittleRoom)
    with tls_port(made, group, IDS) as (_, port), ByHand(port, room=1 << 15) as client:
        client.flush()
        app = opened(made)
        client.update_keys(12_000, asks=True).write(b"end").flush()
        eventually(lambda: call(lambda: app.wire._read_waits and app.wire.is_blocked))
        assert not call(lambda: app.wire._is_watched), "or else the reactor never rests"
        client.plain.settimeout(0.01)

        def is_done() -> bool:
            with suppress(TimeoutError):
                client.plain.recv(1 << 16)
            return bool(app.received == b"end")

        eventually(is_done)


def test_what_a_connection_in_memory_has_received_and_not_read_is_bounded() -> None:
    made = Recorders()
    with tls_port(made, SlowGroup(), IDS) as (_, port):  # type: ignore[arg-type]
        with ByHand(port) as client:
            client.flush()
            app = opened(made)
            flood = client.write(b"x", 20_000).unsent()
            record, most, written = len(flood) // 20_000, 0, 0
            into_tls = app.wire._tls.bio_write

            def note(data: bytes) -> int:
                nonlocal most, written
                written += len(data)
                most = max(most, written - record * len(app.received))
                return int(into_tls(data))

            call(setattr, app.wire._tls, "bio_write", note)
            client.plain.sendall(flood)
            eventually(lambda: len(app.received) == 20_000)
            assert most <= 1 << 17


def test_a_client_may_renegotiate_while_what_it_gets_does_not_fit_its_socket() -> None:
    made, total = Recorders(), 1 << 23
    with tls_port(made, tls={"renegotiation": True}) as (_, port):
        with ByHand(port, VERSIONS[0], room=1 << 16) as client:
            client.flush()
            app = opened(made)
            call(lambda: app.wire.write(bytes(total)))
            eventually(lambda: call(lambda: app.wire.is_blocked))
            assert client.tls.renegotiate()
            assert len(client.read(total)) == total
            assert client.tls.total_renegotiations() == 1
            call(app.wire.abortConnection)


def test_a_producer_that_fails_at_its_end_leaves_no_socket_behind() -> None:
    class Fails:
        def stopProducing(self) -> None:
            raise ValueError("no")

    with recorded() as (app, client):
        call(lambda: app.wire.registerProducer(Fails(), True))
        reset(client)
        assert finished(app) is ConnectionLost
        assert call(app.wire.fileno) == -1
