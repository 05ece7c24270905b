"""Clients that have a session at each server of a farm."""

from __future__ import annotations

import ssl
import time

from farm.local import LocalFarm
from tests.whole.clients import Seen, context, visit
from tests.whole.processes import until


class Homes:
    """Clients with a session at each server of a farm."""

    def __init__(self, farm: LocalFarm) -> None:
        self.farm = farm
        self.listen = farm.listen
        self.context = context(farm.ca, "TLSv1.3")
        self.sessions: dict[str, ssl.SSLSession] = {}
        until(self._all_have_one)

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

    def pid(self, server: str) -> int:
        """Its process."""
        return next(int(s["pid"]) for s in self.farm.facts()["servers"] if s["name"] == server)
