"""One run: a balancer, four servers with what ails them, clients; all out of one seed."""

from __future__ import annotations

import random as global_random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import attrs
from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from homing.balancer.client_connection import ClientConnection
from homing.balancer.follower import Routes
from homing.balancer.service import Balancer
from homing.balancer.table import Entry, Table
from homing.balancer.waiting import For
from homing.shared.farm_state.values import ServerFacts
from homing.shared.id_sets import IdRange
from tests.balancer.running import OPTIONS, to_servers
from tests.balancer.simulation.world import Client, Server, World

NAMES = ("s1", "s2", "s3", "s4")
TABLE = Table(tuple(Entry(name, IdRange.of_prefix(name.encode())) for name in NAMES))
HELLO_TIMEOUT = 5.0
COMING = 6.0
"""Seconds in which clients come, and things go wrong."""
QUIET = 40.0
"""Seconds afterwards, at most."""
_PORT = -1


def hello(session_id: bytes) -> bytes:
    """A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2)."""
    body = b"\3\3" + bytes(32) + bytes([len(session_id)]) + session_id + b"\0\2\xc0\x2b\1\0"
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


@implementer(IReadDescriptor)
class Port:
    """A listening port: clients wait in the kernel's queue until the balancer accepts."""

    address = "simulated"

    def __init__(self, balancer: SimulatedBalancer, world: World) -> None:
        self._balancer = balancer
        self._world = world
        self.queue: deque[Client] = deque()

    def open(self) -> None:
        self._world.addReader(self)

    def doRead(self) -> None:
        time_slice = self._balancer._slice
        while self.queue and time_slice.begin():
            client: Any = self.queue.popleft()
            self._balancer.fast_path.receive(
                ClientConnection(client, f"192.0.2.{client.number % 250}")
            )
            time_slice.end()

    def stop(self) -> None:
        self._world.removeReader(self)

    def fileno(self) -> int:
        return _PORT

    def connectionLost(self, reason: object = None) -> None: ...

    def logPrefix(self) -> str:
        return "port"


class SimulatedBalancer(Balancer):
    """The real one, at a port in memory."""

    def _ingress(self, port: object) -> Any:
        self.port = Port(self, self._reactor)  # type: ignore[arg-type]
        return self.port


class Run:
    """What happens, and what became of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.kinds: dict[str, str] = {}
        """What ails each server."""
        self.clients: list[Client] = []
        self.lost_time = 0.0
        """Seconds in which the balancer stood still."""
        self.most_waiting = 0
        """Connections that waited for a server at once."""
        self.left_behind: list[str] = []
        self._events: list[tuple[float, Callable[[], object]]] = []
        self._left: set[str] = set()
        self._draining: set[str] = set()
        self._moments: list[float] = []
        self._random = Random(self.seed)
        global_random.seed(self.seed)  # the pauses between two attempts to reach a server
        self._world = World(self._random, NAMES)
        self._balancer = SimulatedBalancer(
            self._world,  # type: ignore[arg-type]
            attrs.evolve(OPTIONS, hello_timeout=HELLO_TIMEOUT, source_rate=0),
            TABLE,
            {name: name for name in NAMES},
            sockets=[None],  # type: ignore[list-item]
        )
        for name in NAMES[1:]:
            self._ail(self._world.servers[name])
        self._world.servers["s1"].greets_at = self._random.uniform(0, 0.6)

    def _ail(self, server: Server) -> None:
        random = self._random
        kind = random.choice(
            ("well", "busy", "slow", "hung", "killed", "refuses", "leaves", "drains")
        )
        self.kinds[server.name] = kind
        server.greets_at = random.uniform(0, 0.6)
        begin = random.uniform(1.0, COMING)
        self._moments.append(begin)
        if kind == "busy":  # for less than ANSWER_TIMEOUT
            server.hung = begin, begin + random.uniform(0.3, 1.5)
        elif kind == "slow":
            server.slow = begin, begin + random.uniform(0.5, 2.0)
        elif kind == "hung":
            server.hung = begin, begin + random.uniform(3, 8)
        elif kind == "refuses":
            server.refuses = begin, begin + random.uniform(0.2, 1)
        elif kind == "killed":
            self._events.append((begin, lambda: server.die(random.uniform(0.3, 3))))
        elif kind == "leaves":
            back = begin + random.uniform(0.1, 5)
            self._events.append((begin, lambda: self._left.add(server.name)))
            self._events.append((back, lambda: self._left.remove(server.name)))
        elif kind == "drains":
            self._events.append((begin, lambda: self._draining.add(server.name)))

    def _happen(self) -> None:
        """What is due happens; then the balancer follows."""
        due = [one for one in self._events if one[0] <= self._world.time]
        for event in due:
            self._events.remove(event)
            event[1]()
        if due:
            facts = {name: ServerFacts(f"unix:{name}") for name in NAMES if name not in self._left}
            routes = Routes(TABLE, facts, draining=frozenset(self._draining))
            self._balancer.follow(routes, to_servers(Path()))

    def go(self) -> Run:
        """Let it all happen."""
        self._invite()
        self._balancer.startService()
        coming = deque(sorted(self.clients, key=lambda one: one.came))
        while self._goes_on():
            while coming and coming[0].came <= self._world.time:
                client = coming.popleft()
                self._world.clients[client.number] = client
                self._balancer.port.queue.append(client)
            self._happen()
            self._step()
            waiting = self._balancer.dispatch.waiting
            for_servers = len(waiting) - len(waiting.queue(For.HELLO))
            self.most_waiting = max(self.most_waiting, for_servers)
        self._finish()
        return self

    def _goes_on(self) -> bool:
        time = self._world.time
        if time < COMING + 10 or time > COMING + QUIET:
            return time < COMING + 10
        return any(one.ended is None or one.open for one in self.clients)

    def _invite(self) -> None:
        random = self._random
        favourite = random.choice(NAMES)
        for number in range(1, random.randrange(20, 700)):
            moment = random.choice(self._moments) + random.choice((0.0, 0.1, 0.3))
            came = random.choice((random.uniform(0, COMING), moment, moment, 0.0))
            owner = random.choice((None, *NAMES, *[favourite] * 5))
            wire = hello(owner.encode() + bytes(30) if owner else b"")
            pieces = [(came, len(wire))]
            if random.random() < 0.15:  # in two parts, or never the second
                pieces = [(came, random.randrange(1, len(wire)))]
                if random.random() < 0.7:
                    pieces.append((came + random.uniform(0.05, 3), len(wire)))
            client = Client(number, wire, owner, came, pieces, self._world.true_time)
            client.look = self._cost
            self.clients.append(client)

    def _cost(self) -> None:
        """A look at a hello takes time, by the balancer's clock."""
        self._world.rightNow += self._random.choice((0.0, 0.00004, 0.0004))

    def _step(self) -> None:
        """A turn of the balancer, often late, at times after a pause or a jump of its clock."""
        random, world = self._random, self._world
        luck = random.random()
        busy_time = world.time < COMING
        if luck < 0.004 and busy_time:
            pause = random.uniform(2.1, 9)
            self.lost_time += pause
            for _ in range(20):
                world.pass_by(pause / 20)
            world.turn(pause)
        elif luck < 0.006 and busy_time:
            world.turn(3600.0)
        else:
            late = random.choice((0.001, 0.01, 0.05, 0.05, 0.1, 0.3))
            world.pass_by(late)
            world.turn(late)

    def _finish(self) -> None:
        stopped = self._balancer.stopService()
        for _ in range(200):
            if not stopped.called:
                self._world.pass_by(0.05)
                self._world.turn(0.05)
        assert stopped.called, "it does not stop"
        self.left_behind = [str(one) for one in self._world.getDelayedCalls()]
