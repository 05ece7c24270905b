"""Clients that come back to their farm: each to its server, or again and again meanwhile."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from homing.farm.processes.local import LocalFarm
from tests.reactor import eventually
from tests.whole.clients import Seen, context, visit

_CLIENTS = 2


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
    failed: list[tuple[float, float, str]] = attrs.field(factory=list)
    """When each visit began and ended that was refused, cut off or not resumed; what it saw."""
    kills: list[float] = attrs.field(factory=list)
    """When a process was dead that the test killed: what it had in its hands then ends with it."""
    _stop: threading.Event = attrs.field(factory=threading.Event)

    def more(self, count: int) -> None:
        """Wait until there were so many more visits."""
        target = self.visits + count
        eventually(lambda: self.visits >= target, within=60)

    def lost(self) -> list[str]:
        """What went wrong, but for what visits lost that were under way when a process died."""
        return [
            f"{what} {[round(dead - began, 3) for dead in self.kills]}"
            for began, ended, what in self.failed
            if "full handshake" in what or not any(began <= dead < ended + 1 for dead in self.kills)
        ]

    def _come_back(self, listen: str, farm: LocalFarm, version: str) -> None:
        clients = context(farm.ca, version)
        home = visit(listen, clients)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                seen = visit(listen, clients, home.session)
            except (OSError, AssertionError) as error:
                self.failed.append((began, time.monotonic(), f"{version} {error!r}"))
            else:
                if not seen.reused:
                    words = f"{version} full handshake: {home.answer} {seen.answer}"
                    self.failed.append((began, time.monotonic(), words))
                if version == "TLSv1.3" or not seen.reused:
                    home = seen  # its tickets are meant for one use
            self.visits += 1


@contextmanager
def returning(farm: LocalFarm) -> Iterator[Returns]:
    """Clients of both TLS versions that come back until the block ends."""
    returns, listen = Returns(), farm.listen
    threads = [
        threading.Thread(target=returns._come_back, args=(listen, farm, version))
        for version in ("TLSv1.2", "TLSv1.3")
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
