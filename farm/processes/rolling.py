"""Takes the word of `homing reload`, over a UNIX socket in the state folder.

The command says `GRACE` and seconds, and hears lines: `SAYS` and words, then `DONE`, or `FAILED`
and why.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from homing.farm.processes.workers import Tell
from homing.server.service import claim_socket
from homing.shared.errors import HomingError

GRACE, SAYS, DONE, FAILED = "grace", "says", "done", "failed"

MOST_GRACE = 7 * 24 * 3600
"""Seconds."""

_PATIENCE = 5.0
"""Seconds in which the command must say what it wants."""
_CONNECTIONS = 4

Roll = Callable[[float, Tell], Coroutine[Any, Any, None]]


def socket_path(state_dir: Path, name: str) -> Path:
    """Where the parent of the processes of balancer `name` takes the word."""
    return state_dir / f"reload-{name}"


class Rolling(Service):
    """Has `roll` put new processes in the place of those of the balancer `name`."""

    _log = Logger()

    def __init__(self, reactor: IReactorUNIX, state_dir: Path, name: str, roll: Roll) -> None:
        self._reactor = reactor
        self._path = socket_path(state_dir, name)
        self._roll = roll
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        super().startService()
        factory: Factory[Any] = Factory.forProtocol(partial(_Asked, self._roll))
        factory.noisy = False
        try:
            claim_socket(self._path)
            self._port = self._reactor.listenUNIX(
                str(self._path), factory, backlog=_CONNECTIONS, mode=0o600
            )
        except (CannotListenError, HomingError, OSError) as error:  # a path too long, for instance
            self._log.warn("homing reload cannot be used: {error}", error=error)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)


class _Asked(LineOnlyReceiver, TimeoutMixin):
    """One command.  What it asked for goes on when it has gone."""

    _log = Logger()
    delimiter = b"\n"
    MAX_LENGTH = 64

    def __init__(self, roll: Roll) -> None:
        self._roll = roll
        self._is_there = True

    def connectionMade(self) -> None:
        self.setTimeout(_PATIENCE)

    def lineReceived(self, line: bytes) -> None:
        word, _, seconds = line.decode("ascii", "replace").partition(" ")
        if self.timeOut is None:
            return  # it is at work already
        if word != GRACE or not seconds.isdecimal() or int(seconds) > MOST_GRACE:
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self.setTimeout(None)
        Deferred.fromCoroutine(self._do(float(seconds))).addErrback(self._defect)

    async def _do(self, grace: float) -> None:
        try:
            await self._roll(grace, self._tell)
        except HomingError as error:
            self._log.error("reload: {error}", error=error)
            self._end(f"{FAILED} {error}")
        else:
            self._log.info("reload: done")
            self._end(DONE)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("a defect in reloading", failure)
        self._end(f"{FAILED} a defect, which the log has")

    def _tell(self, words: str) -> None:
        self._log.info("reload: {words}", words=words)
        self._say(f"{SAYS} {words}")

    def _end(self, line: str) -> None:
        self._say(line)
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _say(self, line: str) -> None:
        if self._is_there:
            self.sendLine(line.encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_there = False
        self.setTimeout(None)
