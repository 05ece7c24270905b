"""The processes of one balancer: each with sockets of its own, and replaced one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from socket import socket

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from homing.farm.config.sections import FarmConfig
from homing.farm.processes.child import Child, ChildReactor
from homing.farm.processes.inherited import FIRST_SOCKET
from homing.shared.errors import HomingError

START_TIMEOUT = 30.0
"""Seconds in which a successor must be ready."""
STOP_TIMEOUT = 4.5
"""Seconds that one gets to end that did not become ready."""
RETIRE_TIMEOUT = 15.0
"""Seconds, beside `hello_timeout`, in which one must have handed over what waits in it."""

_SUCCESSOR = ".b"

Tell = Callable[[str], None]
"""Told of every step, in words."""


@attrs.frozen
class Place:
    """One worker's place, which processes take one after the other."""

    number: int
    sockets: Sequence[socket]

    def suffix(self, generation: int) -> str:
        """What its process adds to the balancer's name: two processes are there during a change."""
        first = f".{self.number}" if self.number > 1 else ""
        return first + (_SUCCESSOR if generation % 2 else "")

    @property
    def saved_suffix(self) -> str:
        """What is added to the name of its saved table, the same for all who take the place."""
        return self.suffix(0)


class Workers:
    """Runs a process of balancer `name` for every list of `sockets`, which they inherit.

    `config` returns what is in force, `inherits` the other descriptors of a child.  `changed` is
    called as a child's is.  With `waits_for_servers` a process of the start counts as ready once
    all servers can be reached; otherwise, and later, once it accepts.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ChildReactor,
        name: str,
        sockets: Sequence[Sequence[socket]],
        *,
        config: Callable[[], FarmConfig],
        inherits: Callable[[], Mapping[int, int]],
        changed: Callable[[Child], None],
        waits_for_servers: bool = False,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._sockets = sockets
        self._config = config
        self._inherits = inherits
        self._changed = changed
        self._places = [Place(number, each) for number, each in enumerate(sockets, 1)]
        self._generations = [0] * len(self._places)
        self.children = [self._child(one, 0, waits_for_servers) for one in self._places]
        """Those that accept, in the order of their numbers."""
        self._retired: set[Child] = set()
        self._successor: tuple[Child, Deferred[None]] | None = None
        self._rolling = False
        self._stopping = False

    def _child(self, place: Place, generation: int, waits_for_servers: bool) -> Child:
        suffix = place.suffix(generation)
        options = ["--name", self._name + suffix, "--saved-as", self._name + place.saved_suffix]
        if not waits_for_servers:
            options.append("--at-once")
        return Child(
            self._reactor,
            f"balancer{suffix}",
            ["balancer", "--config", str(self._config().path), *options],
            changed=self._child_changed,
            inherits=partial(self._descriptors, place),
        )

    def _descriptors(self, place: Place) -> dict[int, int]:
        ports = {FIRST_SOCKET + at: one.fileno() for at, one in enumerate(place.sockets)}
        return {**self._inherits(), **ports}

    @property
    def pids(self) -> list[int | None]:
        """Their process numbers."""
        return [one.pid for one in self.children]

    def start(self) -> None:
        """Start all."""
        for one in self.children:
            one.start()

    def hang_up(self) -> None:
        """Have them read farm.toml again."""
        for one in self.children:
            one.hang_up()

    def close(self) -> None:
        """Close our sockets: clients would wait in a queue that nobody accepts from."""
        for sockets in self._sockets:
            for one in sockets:
                one.close()

    def stop(self, patience: float) -> list[Deferred[None]]:
        """End them all, those too that have retired, as children end; these fire then."""
        self._stopping = True
        ending = [*self.children, *self._retired]
        if self._successor is not None:
            successor, ready = self._successor
            ending.append(successor)
            ready.cancel()
        return [one.stop(patience) for one in ending]

    async def roll(self, grace: float, tell: Tell) -> None:
        """Put a new process, of what is installed now, into the place of each, one by one.

        None ends before its successor accepts, nor before its last connection has ended, or
        `grace` seconds later.  Raises HomingError when that cannot be; then the others stay.
        """
        self._must_run()
        if self._rolling:
            raise HomingError("another reload is under way")
        if missing := [one.name for one in self.children if not one.is_ready]:
            raise HomingError(f"not now, as {', '.join(missing)} is not ready: try again")
        self._rolling = True
        try:
            for at in range(len(self._places)):
                await self._replace(at, grace, tell)
                self._must_run()  # or the stop is what that one ended by
        finally:
            self._rolling = False

    def _must_run(self) -> None:
        if self._stopping:
            raise HomingError("the balancer stops")

    async def _replace(self, at: int, grace: float, tell: Tell) -> None:
        old, generation = self.children[at], self._generations[at] + 1
        successor = self._child(self._places[at], generation, waits_for_servers=False)
        tell(f"{successor.name} starts, to take over from {old.name}, process {old.pid}")
        await self._ready(successor)
        self._generations[at], self.children[at] = generation, successor
        self._retired.add(old)
        patience = self._config().balancer.hello_timeout + RETIRE_TIMEOUT
        # One that has died meanwhile, or is starting again, has nothing to hand over
        retired = old.retire(grace, patience) if old.is_ready else old.stop(STOP_TIMEOUT)
        old.stopped.addCallback(partial(self._has_ended, old))
        self._changed(successor)
        tell(f"{successor.name}, process {successor.pid}, accepts; {old.name} does not any more")
        await retired
        tell(f"{old.name} has handed over what waited in it, and ends when its connections have")

    def _has_ended(self, old: Child, _: None) -> None:
        self._retired.discard(old)
        self._log.info("{name} has ended ({how}), which took no more", name=old.name, how=old.exit)

    async def _ready(self, successor: Child) -> None:
        ready: Deferred[None] = Deferred()
        self._successor = successor, ready
        successor.start()
        try:
            await ready.addTimeout(START_TIMEOUT, self._reactor)
        except (HomingError, defer.TimeoutError, defer.CancelledError) as error:
            self._must_run()
            successor.stop(STOP_TIMEOUT)
            why = str(error) if isinstance(error, HomingError) else f"not in {START_TIMEOUT:g} s"
            raise HomingError(
                f"{successor.name} does not become ready: {why}; the processes before go on"
            ) from None
        finally:
            self._successor = None

    def _child_changed(self, child: Child) -> None:
        if self._successor is None or child is not self._successor[0]:
            if child in self.children:
                self._changed(child)
            return
        ready = self._successor[1]
        if child.is_ready:
            ready.callback(None)
        elif not ready.called:
            words = f"{child.exit}: {child.last_words}" if child.last_words else str(child.exit)
            ready.errback(HomingError(words))
