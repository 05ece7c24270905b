"""Whatever the two ends of a relayed connection do: no byte is lost, and none comes twice."""

from __future__ import annotations

import fcntl
import random
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import attrs
import pytest

from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, listens, process, stopped
from tests.reactor import WITHIN, eventually
from tests.sample_hellos import sample
from tests.tls import read_all, read_exactly, reset
from tests.whole.bulk import stream

HELLO = sample("openssl-first12").wire
NAME = 8
"""Bytes behind the hello, which say which connection it is."""
AT_ONCE = 16


class Relayed:
    """A balancer process in front of a server that the test speaks for."""

    def __init__(self, pid: int, port: int, server: socket.socket) -> None:
        self.pid = pid
        self._port = port
        self._server = server
        self._served: dict[bytes, Future[socket.socket]] = {}
        self._lock = threading.Lock()
        self._names = 0

    def serve(self) -> None:
        """Accept until the server's socket is closed; probes say nothing."""
        with suppress(OSError):
            while True:
                one, _ = self._server.accept()
                one.settimeout(WITHIN)
                threading.Thread(target=self._receive, args=(one,), daemon=True).start()

    def _receive(self, one: socket.socket) -> None:
        try:
            began = read_exactly(one, len(HELLO) + NAME)
        except (AssertionError, OSError):
            one.close()
        else:
            assert began[:-NAME] == HELLO
            self._served[began[-NAME:]].set_result(one)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection, past the hello."""
        with self._lock:
            self._names += 1
            name = b"%8d" % self._names
        self._served[name] = Future()
        client = socket.create_connection(("127.0.0.1", self._port), WITHIN)
        client.sendall(HELLO + name)
        return client, self._served[name].result(WITHIN)


@contextmanager
def balancer(folder: Path, server_port: int) -> Iterator[tuple[int, int]]:
    """A balancer process that relays to that port; its number, and its own port."""
    server = f'[[server]]\nname="s1"\naddress="tcp:127.0.0.1:{server_port}"\nmanaged=false\n'
    server += 'probe=false\nids={ prefix = "53" }\n'
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1"
    arguments = config_of(folder, server, listen, registry="none")
    with process(*COMMAND, "balancer", *arguments, cwd=folder) as running:
        eventually(lambda: listens(port))
        yield running.pid, port


@pytest.fixture(scope="module", name="relayed")
def relayed_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1000) as server,
        balancer(tmp_path_factory.mktemp("relay"), server.getsockname()[1]) as (pid, port),
    ):
        relayed = Relayed(pid, port, server)
        serving = threading.Thread(target=relayed.serve, daemon=True)
        serving.start()
        yield relayed
        server.shutdown(socket.SHUT_RDWR)
        serving.join()


@attrs.frozen
class Way:
    """What goes one way on a connection, in pieces and with pauses that chance has chosen."""

    seed: str
    size: int

    @classmethod
    def of(cls, seed: str) -> Way:
        """From nothing at all to far more than any buffer on the way holds."""
        sizes = (0, 1, 5000, 70_000, 400_000, 3_000_000, 9_000_000)
        return cls(seed, random.Random(seed).choice(sizes))

    def send(self, connection: socket.socket) -> None:
        chance, data, at = random.Random(self.seed), stream(self.seed, self.size), 0
        while at < self.size:
            some = chance.choice((1, 100, 4096, 65_536, 1_000_000))
            connection.sendall(data[at : at + some])
            at += some
            if chance.random() < 0.05:
                time.sleep(chance.random() / 50)

    def arrives(self, connection: socket.socket) -> bool:
        """Whether exactly that arrives, and then the end."""
        chance, heard, count = random.Random(f"{self.seed} back"), sha256(), 0
        while data := connection.recv(chance.choice((1000, 65_536, 1_000_000))):
            heard.update(data)
            count += len(data)
            if chance.random() < 0.02:
                time.sleep(chance.random() / 50)
        return heard.digest() == sha256(stream(self.seed, self.size)).digest()


def _says(connection: socket.socket, way: Way) -> None:
    way.send(connection)
    connection.shutdown(socket.SHUT_WR)


Talk = Callable[[ThreadPoolExecutor, socket.socket, socket.socket, Way, Way], bool]


def at_once(
    pool: ThreadPoolExecutor, client: socket.socket, server: socket.socket, up: Way, down: Way
) -> bool:
    """Both talk at the same time; each half ends when it ends."""
    saying = [pool.submit(_says, client, up), pool.submit(_says, server, down)]
    heard = [pool.submit(up.arrives, server), pool.submit(down.arrives, client)]
    for one in saying:
        one.result()
    return all(one.result() for one in heard)


def client_first(
    pool: ThreadPoolExecutor, client: socket.socket, server: socket.socket, up: Way, down: Way
) -> bool:
    """The server answers when the client has ended its half: it sends after the other's FIN."""
    heard = pool.submit(up.arrives, server)
    _says(client, up)
    if not heard.result():
        return False
    answered = pool.submit(_says, server, down)
    arrived = down.arrives(client)
    answered.result()
    return arrived


def server_first(
    pool: ThreadPoolExecutor, client: socket.socket, server: socket.socket, up: Way, down: Way
) -> bool:
    """The other way round."""
    return client_first(pool, server, client, down, up)


@pytest.mark.parametrize("talk", [at_once, client_first, server_first])
def test_half_closed_or_not_every_byte_arrives_once_and_then_the_end(
    relayed: Relayed, talk: Talk
) -> None:
    def one(number: int) -> bool:
        client, server = relayed.pair()
        seed = f"{talk.__name__} {number}"
        with client, server, ThreadPoolExecutor(4) as pool:
            return talk(pool, client, server, Way.of(f"{seed} up"), Way.of(f"{seed} down"))

    with ThreadPoolExecutor(AT_ONCE) as everybody:
        assert all(everybody.map(one, range(AT_ONCE)))


def _taken(connection: socket.socket) -> bool:
    """Whether everything that was sent has been taken by the other end's kernel."""
    return not any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_was_said_before_a_reset_arrives_whole(relayed: Relayed, who: str) -> None:
    """The balancer stands still meanwhile, so that it finds the words and the reset at once."""
    chance = random.Random(who)
    pairs = [relayed.pair()[:: 1 if who == "client" else -1] for _ in range(2 * AT_ONCE)]
    words = [stream(f"{who} {at}", chance.randrange(1, 50_000)) for at in range(len(pairs))]
    with stopped(relayed.pid):
        for (resetting, _), said in zip(pairs, words, strict=True):
            resetting.sendall(said)
        for resetting, _ in pairs:
            eventually(lambda resetting=resetting: _taken(resetting))  # type: ignore[misc]
            reset(resetting)
    for (_, other), said in zip(pairs, words, strict=True):
        with other:
            assert read_all(other) == said


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_in_the_middle_leaves_the_beginning_and_others_all(
    relayed: Relayed, who: str
) -> None:
    """Some reset while they receive, with more on its way than fits; some while they send."""

    def one(number: int) -> bool:
        pair = relayed.pair()
        resetting, other = pair if who == "client" else pair[::-1]
        said = stream(f"{who} {number}", 8_000_000)
        sender, receiver = (resetting, other) if number % 2 else (other, resetting)
        with sender, receiver, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(_sends, sender, said)
            begun = read_exactly(receiver, 200_000 * (number % 5))
            reset(resetting) if sender is other else _cut(sender)
            sending.result()
            if sender is other:
                return said.startswith(begun)
            return said.startswith(begun + read_all(receiver))

    def undisturbed(number: int) -> bool:
        client, server = relayed.pair()
        up, down = Way(f"u{who}{number}", 3_000_000), Way(f"d{who}{number}", 3_000_000)
        with client, server, ThreadPoolExecutor(4) as pool:
            return at_once(pool, client, server, up, down)

    with ThreadPoolExecutor(2 * AT_ONCE) as everybody:
        others = [everybody.submit(undisturbed, number) for number in range(4)]
        assert all(everybody.map(one, range(AT_ONCE)))
        assert all(other.result() for other in others)


def _sends(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


def _cut(connection: socket.socket) -> None:
    """Reset a connection on which another thread sends."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    reset(connection)
