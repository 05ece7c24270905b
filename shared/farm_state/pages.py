"""Pages of exceptions, and how they become shorter.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from homing.shared.farm_state.values import Exceptions
from homing.shared.id_sets import parse_hex


def shortened(page: Exceptions, living: Collection[str], is_routed: bool) -> Exceptions | None:
    """A page without identifiers that live no more; None: it can go.

    Balancers forget those first.  Only when all do so (`is_routed`: their tables follow this page)
    may the part's owner draw them: until then they are `ended`.
    """
    lives = tuple(one for one in page.identifiers if one in living)
    over = tuple(one for one in page.identifiers if one not in living)
    ended = over if is_routed else page.ended + over
    return Exceptions(lives, ended) if lives or ended else None


def in_bytes(identifiers: Iterable[str]) -> Iterator[bytes]:
    """Identifiers of a page; what is none is nobody's."""
    for one in identifiers:
        with suppress(ValueError):
            yield parse_hex(one)
