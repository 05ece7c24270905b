"""The parent's side of a supervised process: one child, kept alive."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.protocol import ProcessProtocol, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from homing.farm.logs.lines import LONGEST_LINE, from_child
from homing.farm.processes.inherited import READY, READY_DESCRIPTOR, RETIRE, RETIRED
from homing.farm.processes.reload import signals_held
from homing.farm.processes.run import COMMAND

_STDIN = 0
_STDERR = 2
_pauses = backoffPolicy(initialDelay=0.2, maxDelay=10.0, factor=2.0, jitter=lambda: 0.0)


class ChildReactor(IReactorProcess, IReactorTime):
    """What keeping a child needs of the reactor."""


class Child:
    """A process of the farm.  Whenever it ends by itself it is started again, with backoff.

    A process that ends before it was ever ready is not started again: it would end the same way.

    `changed` is called when the process becomes ready, and when it ends.  `inherits` is called at
    every start; it maps descriptor numbers in the child to descriptors of ours.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ChildReactor,
        name: str,
        arguments: Sequence[str],
        *,
        changed: Callable[[Child], None],
        inherits: Callable[[], Mapping[int, int]] = dict,
    ) -> None:
        self.name = name
        self.is_ready = False
        """Whether it runs and has said that it takes connections."""
        self.was_ready = False
        self.exit: str | None = None
        """How it last ended: an exit status or a signal."""
        self.last_words = ""
        """What it said last."""
        self._reactor = reactor
        self._arguments = arguments
        self._changed = changed
        self._inherits = inherits
        self._process: IProcessTransport | None = None
        self._retry: IDelayedCall | None = None
        self._failures = 0
        self._stopping = False
        self._ended: Deferred[None] = Deferred()
        self._retired: Deferred[None] = Deferred()
        self._too_late: IDelayedCall | None = None

    @property
    def pid(self) -> int | None:
        """Its process number, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process."""
        self._retry = None
        command = [*COMMAND, *self._arguments, "--supervised"]
        descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r", READY_DESCRIPTOR: "r"}
        try:
            with signals_held():
                self._process = self._reactor.spawnProcess(
                    _ChildProtocol(self),
                    command[0],
                    command,
                    env=None,
                    childFDs={**descriptors, **self._inherits()},
                )
        except OSError as error:  # no descriptors, processes or memory left: perhaps later
            self.ended(f"cannot be started: {error.strerror}")

    @property
    def stopped(self) -> Deferred[None]:
        """Fires when it is gone, once it has been told to stop."""
        gone: Deferred[None] = Deferred()
        self._ended.chainDeferred(gone)
        return gone

    def hang_up(self) -> None:
        """Send SIGHUP.  A process that is still starting reloads once it has started."""
        self._signal(signal.SIGHUP)

    def said(self, line: bytes, level: str) -> None:
        """Log a line that it wrote; with `level` where it is no event of our own log."""
        other = level, {"said": line.decode(errors="backslashreplace")}
        level, event = from_child(line) or other
        self.last_words = str(event.get("said", ""))
        words = "{process}: {said}"
        self._log.emit(LogLevel.lookupByName(level), words, process=self.name, **event)

    def reached(self, what: bytes) -> None:
        """It says how far it has come."""
        if what == READY:
            self.ready()
        elif what == RETIRED and not self._retired.called:
            self._retired.callback(None)

    def ready(self) -> None:
        """It has said that it takes connections."""
        self.is_ready, self.was_ready, self._failures = True, True, 0
        self._changed(self)

    def ended(self, how: str) -> None:
        """The process is gone."""
        self._process, self.is_ready, self.exit = None, False, how
        if self._stopping:
            self._gone()
            return
        if not self.was_ready:  # nor would it get ready at the next try
            self._changed(self)
            return
        pause = _pauses(self._failures)
        self._failures += 1
        self._log.warn(
            "{name} ended ({how}); it starts again in {pause:.1f} s",
            name=self.name,
            how=how,
            pause=pause,
        )
        self._retry = self._reactor.callLater(pause, self.start)
        self._changed(self)

    def stop(self, patience: float) -> Deferred[None]:
        """End it: close its standard input, kill it after `patience` s.  Fires when it is gone."""
        process = self._never_again()
        if process is not None:
            process.closeChildFD(_STDIN)
            if not self.is_ready:  # it has nothing to finish, and may not look at that for seconds
                self._signal(signal.SIGTERM)
            self._kill_after(patience)
        return self.stopped

    def retire(self, grace: float, patience: float) -> Deferred[None]:
        """Have it take no more connections, and end when the last has, or after `grace` s.

        Fires when it takes no more, and what waited in it has been handed over; or after
        `patience` s, for then it hangs, and is killed.
        """
        process = self._never_again()
        if process is not None:
            process.writeToChild(_STDIN, b"%s %d\n" % (RETIRE, grace))
            self._kill_after(patience)
            self._retired.addCallback(lambda _: self._kill_after(grace + patience))
        retired: Deferred[None] = Deferred()
        self._retired.chainDeferred(retired)
        return retired

    def _never_again(self) -> IProcessTransport | None:
        """Start it no more; the process that has to be ended, if it runs."""
        self._stopping = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._process is None:
            self._gone()
        return self._process

    def _gone(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
        for told in (self._retired, self._ended):
            if not told.called:
                told.callback(None)

    def _kill_after(self, patience: float) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
        if self._process is not None:  # it may have died instead of retiring
            self._too_late = self._reactor.callLater(patience, self._kill)

    def _kill(self) -> None:
        self._too_late = None
        self._log.warn("{name} does not end by itself: killed", name=self.name)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(number)


class _ChildProtocol(ProcessProtocol):
    """Splits what a child writes into lines."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._rests: dict[int, bytes] = {}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, rest = (self._rests.get(childFD, b"") + data).split(b"\n")
        self._rests[childFD] = rest[-LONGEST_LINE:]
        for line in lines:
            if childFD == READY_DESCRIPTOR:
                self._child.reached(line)
            elif line:
                self._child.said(line, "warn" if childFD == _STDERR else "info")

    def processEnded(self, reason: Failure = connectionDone) -> None:
        number = getattr(reason.value, "signal", None)
        if number is None:
            self._child.ended(f"exit status {getattr(reason.value, 'exitCode', None)}")
        else:  # real-time signals have no names
            names = {one.value: one.name for one in signal.Signals}
            self._child.ended(names.get(number, f"signal {number}"))
