"""Clients with a session of each carrier at each server of a farm, to come back at any time."""

from __future__ import annotations

import ssl
import time
from collections.abc import Collection
from pathlib import Path

import attrs

from tests.whole.clients import CARRIERS, Seen, visit

_WITHIN = 60


@attrs.define
class Homes:
    """Sessions by server and carrier; they are given out at the address `listen`."""

    listen: str
    ca: Path
    sessions: dict[tuple[str, str], ssl.SSLSession] = attrs.field(factory=dict)
    _clients: dict[str, ssl.SSLContext] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._clients = {name: make(self.ca) for name, make in CARRIERS.items()}

    def settle(self, servers: Collection[str]) -> Homes:
        """Visit until each of `servers` has given out a session of each carrier."""
        deadline = time.monotonic() + _WITHIN
        for carrier, client in self._clients.items():
            missing = {one for one in servers if (one, carrier) not in self.sessions}
            while missing:
                assert time.monotonic() < deadline, f"no {carrier} from {missing}"
                seen = self.visit(client, None)
                if seen.session is not None and seen.answer["issued"]:
                    self.sessions[seen.answer["server"], carrier] = seen.session
                    missing.discard(seen.answer["server"])
        return self

    def lost(self, *of: str, at: str | None = None) -> list[str]:
        """Whose clients, of those `of` these servers, do not resume at the servers they know.

        They come to the address `at`, if that is another than their own.
        """
        lost = []
        for (server, carrier), session in self.sessions.items():
            if server in of:
                seen = self.visit(self._clients[carrier], session, at)
                if not seen.reused or seen.answer["server"] != server:
                    lost.append(f"{carrier} of {server}: {seen.answer}")
        return lost

    def visit(
        self, client: ssl.SSLContext, session: ssl.SSLSession | None, at: str | None = None
    ) -> Seen:
        """One visit; where nobody listens, or somebody has just died, it is tried again."""
        deadline = time.monotonic() + _WITHIN
        while True:
            try:
                return visit(at or self.listen, client, session)
            except (ConnectionError, ssl.SSLEOFError, AssertionError):
                assert time.monotonic() < deadline, "nobody serves"
                time.sleep(0.01)
