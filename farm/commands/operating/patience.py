"""How long a command waits for a farm: until it is done, or it is of no use to wait.  Pure."""

from __future__ import annotations

from homing.farm.progress import Look, Progress
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.view import View

SETTLED = 1.0
"""Seconds for which nothing may be left to do: the manager may just have begun."""
UNATTENDED = 10.0
"""Seconds that a farm may be without a manager, or its registry without an answer."""

STAYS = "what was asked stays in force"
_NO_MANAGER = f"no balancer has managed the farm for {UNATTENDED:g} s"


class Patience:
    """Waits from `now` on, for `timeout` seconds at most; times are seconds that never jump."""

    def __init__(self, look: Look, now: float, timeout: float | None = None) -> None:
        self._look = look
        self._begun = self._attended = self._left = now
        self._timeout = timeout

    def look(self, view: View, now: float, failure: Exception | None) -> Progress | None:
        """How far it is; None: it is done.

        `failure` is why the registry does not answer at present.  Raises HomingError when it is of
        no use to wait.
        """
        if failure is None and view.single(keys.MANAGER) is not None:
            self._attended = now
        elif now - self._attended >= UNATTENDED:
            why = f"the registry does not answer ({failure})" if failure else _NO_MANAGER
            raise HomingError(f"{why}: {STAYS}, and is done once that is over")
        progress = self._look(view)
        if progress.left or self._attended != now:
            self._left = now
        elif now - self._left >= SETTLED:
            return None
        if self._timeout is not None and now - self._begun >= self._timeout:
            words = progress.words or "the manager may just have begun"
            raise HomingError(f"not complete after {self._timeout:g} s: {words}; {STAYS}")
        return progress
