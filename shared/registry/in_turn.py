"""Commits what is due one transaction after the other, and then waits for what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from homing.shared.registry.interface import Registry, RegistryError, Transaction

PAUSE = 1.0
"""Seconds after a failure until it is looked again what is due."""


class InTurn:
    """Commits the transactions that `due` finds; one that is lost ends the turn.

    Nothing is found due before the state is known that the last turn has led to: its revision is
    passed to `look`.  Whoever learns more calls `look`; after a failure it is called here.
    """

    _log = Logger()

    def __init__(
        self,
        registry: Registry,
        clock: IReactorTime,
        due: Callable[[], Iterable[Transaction]],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._due = due
        self._at_work = False
        self._reached = 0
        self._known = 0
        self._pause: IDelayedCall | None = None
        self._stopped = False
        self._complaint = ""

    def look(self, revision: int) -> None:
        """The state is known up to `revision`: begin with what is due, unless that is under way."""
        self._known = max(self._known, revision)
        ready = not self._at_work and self._pause is None and self._known >= self._reached
        if ready and not self._stopped:
            self._at_work = True
            Deferred.fromCoroutine(self._turn())

    async def _turn(self) -> None:
        before = self._known
        try:
            for transaction in self._due():
                revision = await self._registry.commit(transaction)
                if revision is None or self._stopped:
                    break
                self._reached = max(self._reached, revision)
        except Exception as error:
            if not self._stopped:
                self._complain(error)
                self._pause = self._clock.callLater(PAUSE, self._again)
        else:
            self._complaint = ""
        finally:
            self._at_work = False
        if self._known > before:  # there is news meanwhile
            self.look(self._known)

    def _again(self) -> None:
        self._pause = None
        self.look(self._known)

    def _complain(self, error: Exception) -> None:
        if repr(error) == self._complaint:
            return
        self._complaint = repr(error)
        if isinstance(error, RegistryError):
            self._log.warn("the registry did not take what is due: {error}", error=error)
        else:
            self._log.failure("a defect in what is due")

    def stop(self) -> None:
        """Commit nothing more."""
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
