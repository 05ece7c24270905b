"""A clock whose calls are made turn by turn, as a reactor makes them."""

from __future__ import annotations

from twisted.internet.task import Clock


class TurningClock(Clock):
    """Every `advance` is one turn: what a call asks for at once is for the next turn.

    Twisted's own `Clock` would make such calls in the same `advance`, while a reactor reads what
    has come in between.
    """

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        for call in sorted(self.calls, key=lambda one: one.getTime()):
            if call.getTime() > self.rightNow:
                break
            if call.active():  # no call before it in this turn has cancelled it
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
