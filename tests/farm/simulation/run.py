"""One run: a farm, what people do to it, what goes wrong, and what must hold; all out of a seed."""

from __future__ import annotations

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode, encode
from homing.shared.farm_state.values import (
    PartValue,
    Reassign,
    ServerFacts,
    ServerState,
    Wish,
)
from homing.shared.moves import Way
from tests.farm.simulation.balancer import Balancer
from tests.farm.simulation.process import Process
from tests.farm.simulation.server import FACTS, Server, with_ids
from tests.farm.simulation.world import ASSIGNMENT, BITS, LIFETIME, World

STEPS = 220
"""In which people act and things go wrong."""
QUIET = 3 * LIFETIME + 110
"""Seconds afterwards in which everything must have settled."""

LONG = ASSIGNMENT + LIFETIME + 25
"""After which others may have what a server had."""

FARM: dict[str, ServerFacts] = {
    "s1": FACTS,
    "s2": FACTS,
    "s3": FACTS,
    "s4": FACTS,
    "s5": FACTS,
    "own1": with_ids(b"OWN1\x01", b"OWN1\x01"),
    "own2": with_ids(b"OWN1\x02", b"OWN1\x02"),
    "own3": with_ids(b"OWN1\x00", b"OWN1\x01"),  # overlaps that of own1
}


class Run:
    """A farm whose processes act in any order."""

    def __init__(self, seed: int) -> None:
        self.world = world = World(seed)
        self.random = world.random
        self.servers: dict[str, Server | None] = {}
        """By name; None: it is down."""
        self.balancers: dict[str, Balancer | None] = {}
        self.ended: dict[str, list[bytes]] = {name: [] for name in FARM}
        self.never_again: set[str] = set()
        self.asked_for: set[str] = set()
        """What was asked of the manager, for the test of the runs themselves."""
        for number in range(1, self.random.randrange(2, 4)):
            self.balancers[f"b{number}"] = Balancer(world, f"b{number}")
        for name in self.random.sample(list(FARM), self.random.randrange(1, 5)):
            self._invite(name)

    # What people do

    def _invite(self, name: str) -> None:
        if name not in self.servers:
            if self.random.random() < 0.7:
                self._wish(name, Wish(FARM[name], source="command"))
            self._start(name)

    def _wish(self, name: str, wish: Wish | None) -> None:
        self.world.put(keys.wish(name), wish)

    def _wished(self, name: str) -> Wish | None:
        item = self.world.item(keys.wish(name))
        return None if item is None else decode(Wish, item.value)

    def _people_act(self) -> None:
        random = self.random
        name = random.choice(list(FARM))
        wish = self._wished(name)
        what = random.choice(("add", "drain", "remove", "share", "max", "weight", "reassign"))
        if what == "reassign":
            how = random.choice((None, *Way))
            at = random.choice((None, self.world.unix + random.uniform(0, LIFETIME)))
            self.world.put(keys.REASSIGN, Reassign(how, at))
        elif what == "add" and name not in self.never_again:
            self._invite(name)
            if wish is not None:
                self._wish(name, attrs.evolve(wish, state=ServerState.ACTIVE))
        elif wish is None:
            return
        elif what == "drain":
            how = random.choice((None, *Way))
            self._wish(name, attrs.evolve(wish, state=ServerState.DRAINING, how=how))
        elif what == "remove":
            self._wish(name, attrs.evolve(wish, state=ServerState.REMOVED))
        elif what == "share":
            share = random.choice((None, 0.1, 0.3))
            self._wish(name, attrs.evolve(wish, share=share, max_ids=None))
        elif what == "max":
            most = random.choice((None, 2, 6))
            self._wish(name, attrs.evolve(wish, share=None, max_ids=most))
        elif what == "weight":
            self._wish(name, attrs.evolve(wish, weight=random.choice((0.5, 1.0, 3.0))))
        self.asked_for.add(what)

    def _supervise(self) -> None:
        """Stop the processes of removed servers that owe nothing."""
        for name, server in self.servers.items():
            wish = self._wished(name)
            removed = wish is not None and wish.state is ServerState.REMOVED
            if server and removed and server.runs and server.reachable and server.idle:
                view = server.view
                pages = any(page.split("/")[1] == name for page in view.exceptions)
                if not view.owned.get(name) and not pages and not server.sessions:
                    self.world.note(f"{name} is stopped")
                    server.assignment.give_back()
                    server.presence.give_back()
                    self._end(name)

    # What goes wrong

    def _start(self, name: str) -> None:
        self.world.note(f"{name} starts")
        self.servers[name] = Server(self.world, name, FARM[name], self.ended[name])

    def _end(self, name: str) -> None:
        server = self.servers[name]
        assert server is not None
        self.servers[name] = None
        self.ended[name].append(encode(server.value))
        server.sessions.clear()

    def _something_breaks(self) -> None:
        random = self.random
        one = random.choice([*self.servers.values(), *self.balancers.values()])
        kind = random.choice(("kill", "pause", "cut off", "cut off all", "clock", "compact"))
        now = self.world.now
        until = now + random.choice((1.0, 4.0, 10.0, ASSIGNMENT + 3, LONG, LONG))
        self.world.note(f"{kind}: {one.name if one else ''} until {until:.2f}")
        if kind == "clock":
            self.world.unix_jump = random.choice((-3600.0, 0.0, 3600.0))
        elif kind == "compact":
            self.world.registry.compact()
        elif kind == "cut off all":
            for each in self._processes():
                each.unreachable_until = until
        elif one is None:
            self._something_restarts()
        elif kind == "pause":
            one.paused_until = until
        elif kind == "cut off":
            one.unreachable_until = until
        elif isinstance(one, Balancer):
            self.balancers[one.name] = None
        elif random.random() < 0.5:
            self._end(one.name)

    def _something_restarts(self) -> None:
        random = self.random
        for name, server in self.servers.items():
            if server is None and name not in self.never_again and random.random() < 0.5:
                self._start(name)
        for name, balancer in self.balancers.items():
            if balancer is None:
                self.balancers[name] = Balancer(self.world, name)

    def _processes(self) -> list[Process]:
        return [one for one in (*self.servers.values(), *self.balancers.values()) if one]

    # The run

    def go(self) -> Run:
        """Let it all happen, check after every step, and see it settle."""
        random = self.random
        for _ in range(STEPS):
            luck = random.random()
            if luck < 0.08:
                self._people_act()
            elif luck < 0.11:
                self._something_breaks()
            elif luck < 0.13:
                self._something_restarts()
            self.turn(random.choice((0.0, 0.1, 0.5, 1.0, 2.0)))
        self._settle()
        return self

    def turn(self, seconds: float) -> None:
        """Time goes on, clients come, and processes act in any order."""
        world, random = self.world, self.random
        world.now += seconds
        world.deliver()
        self.check()
        acting = self._processes()
        random.shuffle(acting)
        for process in acting[: None if not world.faulty else random.randrange(1 + len(acting))]:
            process.step()
            if world.faulty:
                self.check()
        if world.faulty:
            for server in self.servers.values():
                if server and random.random() < 0.5:
                    server.visit()
        self._supervise()

    def _settle(self) -> None:
        """Faults stop; all that is under way ends; then nothing changes any more."""
        world = self.world
        world.note("faults stop")
        world.faulty = False
        world.unix_jump = 0.0
        for name, server in self.servers.items():
            if server is None and self.random.random() < 0.4:
                self.never_again.add(name)
        self._something_restarts()
        while not any(self.balancers.values()):
            self._something_restarts()
        for process in self._processes():
            process.paused_until = process.unreachable_until = 0.0
        for name, server in self.servers.items():
            if server is None and name not in self.never_again:
                self._start(name)
        for _ in range(QUIET // 2):
            self.turn(2.0)
        self.check_settled()
        revision = world.registry.revision
        for _ in range(15):
            self.turn(2.0)
        if world.registry.revision != revision:
            world.fail("it does not come to rest")

    # What must hold

    def check(self) -> None:
        """At any time."""
        self._check_drawing()
        self._check_routing()

    def _check_drawing(self) -> None:
        drawing: dict[int, str] = {}
        for server in self.servers.values():
            if server is None or not server.may_draw():
                continue
            for part in server.drawing:
                other = drawing.setdefault(part, server.name)
                if other != server.name:
                    self.world.fail(f"{server.name} and {other} draw from part {part}")

    def _check_routing(self) -> None:
        present = [each for each in self.balancers.values() if each and each.is_present]
        for server in filter(None, self.servers.values()):
            for one, end in server.sessions.items():
                for balancer in present:
                    to = balancer.route(one)
                    if to != server.name and end > self.world.now:
                        self.world.fail(
                            f"{one.hex()}, which lives at {server.name}, goes to {to} "
                            f"at {balancer.name}, whose table follows {balancer.table.epoch}"
                        )

    def check_settled(self) -> None:
        """Some time after faults have stopped."""
        world = self.world
        wishes = {name: self._wished(name) for name in FARM}
        owned: dict[str, int] = {}
        for key, item in world.registry.items.items():
            if key.startswith("exceptions/"):
                world.fail(f"{key} is left over")
            if not key.startswith("parts/"):
                continue
            part = decode(PartValue, item.value)
            owned[part.owner] = owned.get(part.owner, 0) + 1
            if part.next is not None:
                world.fail(f"{key} does not arrive: {part}")
        for name, wish in wishes.items():
            active = wish is not None and wish.state is ServerState.ACTIVE
            if not active and owned.get(name):
                world.fail(f"{name} is not active and owns {owned[name]} parts")
            if wish is not None and wish.state is ServerState.REMOVED:
                world.fail(f"{name} is removed, and still there")
            if active and not owned.get(name) and FARM[name].ids is None and not self._reports():
                world.fail(f"{name} has no part")
        assert sum(owned.values()) <= 1 << BITS

    def _reports(self) -> list[str]:
        return [line for each in self.balancers.values() if each for line in each.reports]
