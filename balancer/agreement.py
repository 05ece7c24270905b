"""Whether the servers draw from what the balancer's table gives them; told loudly when not."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.logger import Logger

from homing.shared.fingerprint import digests
from homing.shared.record import Record


@attrs.frozen
class Difference:
    """The digests of what a server draws from, and of what the table gives it, in hex."""

    server: str
    table: str


class Agreement:
    """Compares the digests that servers tell with those of `records`, by server.

    None: nothing is compared, as another place than farm.toml says what servers draw from.
    """

    _log = Logger()

    def __init__(self, records: Mapping[str, Record] | None = None) -> None:
        self.records = records
        self.differences: dict[str, Difference] = {}
        """By server: those that do not agree."""

    def told(self, server: str, digest: bytes | None) -> None:
        """`server` has told its digest; None: it is of a version that has none."""
        record = self.records.get(server) if self.records is not None else None
        if record is None or digest is None:
            self.differences.pop(server, None)
            return
        expected = digests(record)
        if digest in expected:
            if self.differences.pop(server, None):
                self._log.info("{server} and this balancer agree now", server=server)
            return
        difference = Difference(digest.hex(), expected[0].hex())
        if self.differences.get(server) != difference:
            self.differences[server] = difference
            self._log.error(
                "{server} draws other identifiers than the table gives it, so that its clients are "
                "sent elsewhere: digest {theirs}, expected {ours}: start both from the same "
                "farm.toml and key files",
                server=server,
                theirs=difference.server,
                ours=difference.table,
            )
