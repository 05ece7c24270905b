"""Clients that come back to their farm: each to its server, or again and again meanwhile."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf

import attrs

from homing.farm.processes.local import LocalFarm
from tests.processes import kill
from tests.reactor import eventually
from tests.whole.clients import CARRIERS, Seen, context, visit

_CLIENTS = 2
_TWICE = ("TLS 1.2 ticket", "TLS 1.3")
_PAUSE = 0.03
_EXACT = 1.0
"""Seconds by which a session may end sooner than its lifetime says."""
_CUT_OFF = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, AssertionError)
"""What a client sees whose connection ends with the process that has it."""


class Homes:
    """Clients with a session at each server of a farm."""

    def __init__(self, farm: LocalFarm) -> None:
        self.farm = farm
        self.listen = farm.listen
        self.context = context(farm.ca, "TLSv1.3")
        self.sessions: dict[str, ssl.SSLSession] = {}
        eventually(self._all_have_one)

    def _all_have_one(self) -> bool:
        seen = visit(self.listen, self.context)
        if seen.session is not None:
            self.sessions[seen.answer["server"]] = seen.session
        return len(self.sessions) == 4

    def comes_home(self, server: str) -> bool:
        """Whether a client of that server reaches it again and resumes."""
        seen = self.back(server)
        return seen.reused and seen.answer["server"] == server

    def back(self, server: str) -> Seen:
        """A client of that server comes back; where nobody listens, it tries again."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return visit(self.listen, self.context, self.sessions[server])
            except (ConnectionError, ssl.SSLEOFError):
                assert time.monotonic() < deadline, "nobody listens"
                time.sleep(0.01)


@attrs.define
class Returns:
    """What those clients saw."""

    visits: int = 0
    _lifetime: float = inf
    _lost: list[str] = attrs.field(factory=list)
    _cut_off: list[tuple[float, float, str]] = attrs.field(factory=list)
    _kills: list[tuple[float, float]] = attrs.field(factory=list)
    _stop: threading.Event = attrs.field(factory=threading.Event)

    def more(self, count: int) -> None:
        """Wait until there were so many more visits."""
        target = self.visits + count
        eventually(lambda: self.visits >= target, within=60)

    def kill(self, pid: int) -> None:
        """Kill a process: it may cut off visits that began before it was gone."""
        killed = time.monotonic()
        kill(pid)
        self._kills.append((killed, time.monotonic()))

    def lost(self) -> list[str]:
        """What went wrong, except for visits that a killed process has cut off."""
        return self._lost + [
            what
            for began, ended, what in self._cut_off
            if not any(began <= gone and killed <= ended for killed, gone in self._kills)
        ]

    def _come_back(self, listen: str, clients: ssl.SSLContext, carrier: str) -> None:
        began = time.monotonic()
        home, until = visit(listen, clients), began + self._lifetime - _EXACT
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                seen = visit(listen, clients, home.session)
            except _CUT_OFF as error:
                self._cut_off.append((began, time.monotonic(), f"{carrier} {error!r}"))
            except OSError as error:
                self._lost.append(f"{carrier} {error!r}")
            else:
                if not seen.reused and time.monotonic() < until:
                    self._lost.append(f"{carrier} full handshake: {home.answer} {seen.answer}")
                if not seen.reused or (carrier == "TLS 1.3" and seen.answer["issued"]):
                    lives = self._lifetime if seen.answer["issued"] else 0.0
                    until = began + lives - _EXACT
                home = seen
            self.visits += 1
            self._stop.wait(_PAUSE)


@contextmanager
def returning(
    farm: LocalFarm, carriers: Sequence[str] = _TWICE, lifetime: float = inf
) -> Iterator[Returns]:
    """Clients that come back until the block ends, two with each of `carriers`.

    `lifetime` is that of their sessions, in seconds: what has ended is not lost.
    """
    returns, listen = Returns(lifetime=lifetime), farm.listen
    threads = [
        threading.Thread(
            target=returns._come_back, args=(listen, CARRIERS[carrier](farm.ca), carrier)
        )
        for carrier in carriers
        for _ in range(_CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        returns.more(20)
        yield returns
        returns.more(20)
    finally:
        returns._stop.set()
        for thread in threads:
            thread.join(60)
