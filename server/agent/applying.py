"""Has a server draw from what its duties allow, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from homing.server.agent.drawing import Drawing
from homing.server.agent.duties import Duties
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import Live
from homing.shared.farm_state.view import View
from homing.shared.fingerprint import digest
from homing.shared.part import Part
from homing.shared.record import Record

Leave = Callable[[Mapping[int, tuple[Part, float]]], None]
"""Parts leave in so many seconds each: their clients are to get identifiers elsewhere."""


class Drawer(Protocol):
    """What draws identifiers: a TLS server's issuer."""

    until: float

    @property
    def sessions(self) -> int: ...

    @property
    def nearly_used_up(self) -> bool: ...

    def use(self, parts: Mapping[int, Part], until: float) -> None: ...

    def live(self, part: int) -> Live: ...

    def listing(self, part: int) -> tuple[bytes, ...] | None: ...

    def note_unknown(self, part: int) -> None: ...


class Applying:
    """Tells `issuer` what it may draw from, whenever that changes."""

    def __init__(
        self,
        drawing: Drawing,
        issuer: Drawer,
        leave: Leave,
        unix: Callable[[], float],
        complain: Callable[[str], None],
    ) -> None:
        self.epoch = 0
        """The revision that what is drawn from follows."""
        self.fingerprint = ""
        """Of what it draws by a function; no key can be found from it."""
        self._drawing = drawing
        self._issuer = issuer
        self._leave = leave
        self._unix = unix
        self._complain = complain
        self._used: Mapping[int, Part] = {}
        self._left: Mapping[int, float] = {}
        self._whole: tuple[int, Mapping[int, Part]] = (0, {})
        """What it has without parts, and the revision that says so."""

    @property
    def draws(self) -> bool:
        """Whether there is anything to draw from, and time left."""
        return bool(self._used)

    def follow(self, view: View, due: Duties, without_parts: bool, until: float) -> None:
        """Draw as the farm's state in `view` says, until `until` by the boot clock."""
        farm = view.farm
        parts: dict[int, Part] = {}
        if farm is not None:
            parts = self._drawing.parts(view, farm, due.drawing)
            if without_parts:
                parts |= self._without_parts(view)
        if parts != self._used:
            self._issuer.use(parts, until)
            self._used = parts
        self.last(until)
        self.epoch = view.routing
        if farm is not None and due.leaving != self._left:
            self._left = due.leaving
            now = self._unix()
            self._leave(
                {
                    number: (self._drawing.part(view, farm, number), max(0.0, at - now))
                    for number, at in due.leaving.items()
                }
            )

    def last(self, until: float) -> None:
        """Draw until then from what is drawn from now."""
        if self._issuer.until != until:
            self._issuer.until = until

    def stop(self) -> None:
        """Draw from nothing."""
        if self._used or self._issuer.until:
            self._issuer.use({}, 0.0)
        self._used = {}

    def look_again(self) -> None:
        """The keys of the scheme's function have changed."""
        self._whole = 0, self._whole[1]

    def _without_parts(self, view: View) -> Mapping[int, Part]:
        """Made anew only when it has changed."""
        revision = max(map(view.revision_of, (keys.NAMES, keys.record(self._drawing.me))))
        if self._whole[0] != revision:
            try:
                self._whole = revision, self._drawing.whole(view)
                self.fingerprint = digest(Record(tuple(self._whole[1].values()))).hex()
            except HomingError as error:
                self._complain(str(error))
        return self._whole[1]
