"""What a server must remember of its parts, since the registry does not say it.  Pure.

Two things: which exceptions some balancer may still look up although they are no longer listed, and
what was given up by a transaction that may take effect late.
"""

from __future__ import annotations

import attrs

from homing.shared.farm_state.values import Exceptions
from homing.shared.farm_state.view import Known, View

Pages = dict[str, Known[Exceptions]]


@attrs.frozen
class _Listing:
    """The exceptions in a part as they were from a revision on."""

    since: int
    pages: dict[str, int]
    """By name, the revision of each page."""
    identifiers: frozenset[bytes]

    @classmethod
    def of(cls, since: int, pages: Pages) -> _Listing:
        return cls(
            since,
            {name: page.revision for name, page in pages.items()},
            frozenset(bytes.fromhex(one) for p in pages.values() for one in p.value.identifiers),
        )


@attrs.define
class _Own:
    """A part that the server owns, from a revision on."""

    revision: int
    listings: list[_Listing]
    """Those that a balancer may still follow, and the newest."""
    is_routed: bool = False
    given_up: int = 0
    """The revision at which a transaction said that it is drawn from no more."""


class Remembered:
    """What one process knows of its own parts; it begins anew with every assignment."""

    def __init__(self) -> None:
        self._own: dict[int, _Own] = {}

    def look(self, view: View, me: str) -> None:
        """See what has changed."""
        followed = min((each.value.epoch for each in view.balancers.values()), default=view.routing)
        owned = view.owned.get(me, set())
        pages = _pages(view, owned)
        self._own = {number: self._looked(view, number, pages.get(number, {})) for number in owned}
        for own in self._own.values():
            while len(own.listings) > 1 and own.listings[1].since <= followed:
                del own.listings[0]
            own.is_routed = own.is_routed or own.listings[0].since <= followed

    def _looked(self, view: View, number: int, pages: Pages) -> _Own:
        known = view.parts[number]
        own = self._own.get(number)
        if own is None or not (known.value.drawn or known.revision == own.revision):
            # It may have been another's meanwhile.
            return _Own(known.revision, [_Listing.of(view.routing, pages)])
        if own.listings[-1].pages != {name: page.revision for name, page in pages.items()}:
            own.listings.append(_Listing.of(view.routing, pages))
        return own

    def is_routed(self, number: int) -> bool:
        """Whether all balancers that are there have followed what was known when it was got."""
        return self._own[number].is_routed

    def exceptions(self, number: int) -> frozenset[bytes]:
        """What of a part is not to be drawn: some balancer may have it as somebody's exception."""
        return frozenset().union(*(each.identifiers for each in self._own[number].listings))

    def give_up(self, number: int, revision: int) -> None:
        """A transaction that expects this revision says that the part is drawn from no more."""
        self._own[number].given_up = revision

    def has_given_up(self, number: int, revision: int) -> bool:
        """Whether such a transaction may still take effect."""
        return self._own[number].given_up == revision


def _pages(view: View, numbers: set[int]) -> dict[int, Pages]:
    """The pages of exceptions in parts, by the part's number and their name."""
    found: dict[int, Pages] = {}
    for name, page in view.exceptions.items():
        number = int(name.partition("/")[0])
        if number in numbers:
            found.setdefault(number, {})[name] = page
    return found
