"""What a server has to do for parts that leave it, and for exceptions that stay.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.pages import shortened
from homing.shared.farm_state.values import Exceptions, Live
from homing.shared.farm_state.view import View
from homing.shared.moves import TRANSITIONS, PartEvent, PartStep, Way
from homing.shared.registry.interface import Transaction

MOST_EXCEPTIONS = 16_384
"""Identifiers that are listed for one part; one of which more live drains instead."""
_PAGE = 4096
"""Identifiers of a page: a value of the registry is no longer than 1 MB."""
_TOO_MANY = "more live in it than can be listed as exceptions: it drains"


class Living(Protocol):
    """What lives at this server, by part number."""

    def live(self, part: int) -> Live:
        """How many sessions, and until when."""

    def listing(self, part: int) -> tuple[bytes, ...] | None:
        """The identifiers that live; None if they are too many, or not known."""


@attrs.frozen
class Parting:
    """The transactions that are due at the server `me`; all expect that its assignment stands."""

    view: View
    me: str
    living: Living
    unix: float

    def stop(self, number: int) -> Iterator[Transaction]:
        """A part that is leaving is drawn from no more: say so, and list what lives."""
        part = self.view.parts[number].value
        event = PartEvent.STOPPED
        if part.how is Way.EXCEPTIONS:
            listing = self.living.listing(number)
            if listing is None or len(listing) > MOST_EXCEPTIONS:
                event = PartEvent.TOO_MANY
            elif missing := self._missing(number, listing):
                yield from self._list(number, missing)
                return  # the next step is due when they are there
            else:
                event = PartEvent.LISTED
        yield from self._happens(number, event)

    def over(self, numbers: Iterable[int]) -> Iterator[Transaction]:
        """Release parts in which nothing lives any more, or whose time has come."""
        for number in numbers:
            part = self.view.parts[number].value
            is_due = part.how is Way.SCHEDULED and part.at is not None and self.unix >= part.at
            if is_due or not self._lives(number):
                yield from self._happens(number, PartEvent.OVER)

    def tidy(self, numbers: Iterable[int]) -> Iterator[Transaction]:
        """Parts that nothing lives in, and that are not drawn from, are as if they never were."""
        for number in numbers:
            if not self._lives(number):
                part = attrs.evolve(self.view.parts[number].value, drawn=False)
                yield self._change({keys.part(number): part})

    def shorten(self) -> Iterator[Transaction]:
        """Take exceptions out of a page that have expired, once they are half of it."""
        for number, pages in self._pages().items():
            known = self.view.parts.get(number)
            part = known.value if known and known.value.owner == self.me else None
            if part is not None and part.step is PartStep.LEAVING:
                continue  # it is being listed
            is_back = part is not None and part.step is PartStep.HELD and part.drawn
            living = () if is_back or not self._lives(number) else self.living.listing(number)
            if living is None:
                continue
            for key, page in pages.items():
                lives = {one.hex() for one in living}
                after = None if is_back else self._shortened(key, page, lives)
                if after != page:
                    yield self._change({key: after}, keys.part(number))

    def _shortened(self, key: str, page: Exceptions, living: Collection[str]) -> Exceptions | None:
        is_routed = self.view.is_routed(self.view.revision_of(key))
        after = shortened(page, living, is_routed)
        if after is None or 2 * len(after.identifiers) <= len(page.identifiers):
            return after
        return page

    def _lives(self, number: int) -> bool:
        return self.living.live(number).seconds > 0

    def _missing(self, number: int, listing: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """What is not listed yet: an earlier attempt may have been broken off."""
        pages = self._pages().get(number, {})
        listed = {one for page in pages.values() for one in page.identifiers}
        return tuple(one for one in listing if one.hex() not in listed)

    def _list(self, number: int, missing: tuple[bytes, ...]) -> Iterator[Transaction]:
        used = {int(key.rpartition("/")[2]) for key in self._pages().get(number, {})}
        first = max(used, default=-1) + 1
        for at, page in enumerate(_paged(missing), first):
            yield self._change({keys.page(number, self.me, at): page}, keys.part(number))

    def _happens(self, number: int, event: PartEvent) -> Iterator[Transaction]:
        part = self.view.parts[number].value
        step = TRANSITIONS[part.how][part.step][event]
        if step is part.step:
            return
        after = attrs.evolve(part, step=step)
        if event is PartEvent.TOO_MANY:
            after = attrs.evolve(after, how=Way.DRAIN, note=_TOO_MANY)
        yield self._change({keys.part(number): after})

    def _pages(self) -> dict[int, dict[str, Exceptions]]:
        """The pages of this server, by part and key."""
        found: dict[int, dict[str, Exceptions]] = {}
        for name, page in sorted(self.view.exceptions.items()):
            key = f"exceptions/{name}"
            part, server = keys.part_of_page(key)
            if server == self.me:
                found.setdefault(part, {})[key] = page.value
        return found

    def _change(self, changes: dict[str, object | None], *unchanged: str) -> Transaction:
        return self.view.change(changes, *unchanged, keys.assignment(self.me))


def _paged(identifiers: tuple[bytes, ...]) -> Iterator[Exceptions]:
    for start in range(0, len(identifiers), _PAGE):
        some = identifiers[start : start + _PAGE]
        yield Exceptions(tuple(one.hex() for one in some))
