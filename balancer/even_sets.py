"""The schemes ``bits`` and ``list``: every server gets as many identifiers (patent, p. 3 and 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import count, islice

from homing.balancer.allocation import AllocationError, Need, arena_start
from homing.shared.id_sets import IdList, IdSet, MandatoryBits
from homing.shared.identifiers import KEY_NAME_LENGTH, from_number
from homing.shared.record import Record

_PREFIX_BITS = 32
_MOST_MISSES = 10_000


def allocate_bits(names: Sequence[str], occupied: Iterable[IdSet] = ()) -> dict[str, Record]:
    """Bits behind a common prefix say whose an identifier is.

    One or more bits, "depending on the number of servers" (p. 3); at least one pattern is spare.
    """
    start = arena_start(tuple(occupied))
    width = len(names).bit_length()
    mask = from_number(((1 << _PREFIX_BITS + width) - 1) << 256 - _PREFIX_BITS - width)
    return {
        name: Record(
            (MandatoryBits(mask, from_number(start | index << 256 - _PREFIX_BITS - width)),)
        )
        for index, name in enumerate(names)
    }


def allocate_lists(
    needs: Sequence[Need], size: int, occupied: Iterable[IdSet] = ()
) -> dict[str, Record]:
    """A list for every server: `max_ids` identifiers or, where it asks for none, `size`.

    They are scattered over all identifiers, and follow from the server's name.  Each ends in 16
    zero bytes, so that it can be a ticket's key name too.
    """
    taken = tuple(occupied)
    return {
        need.name: Record((IdList(islice(_scattered(need.name, taken), need.max_ids or size)),))
        for need in needs
    }


def _scattered(name: str, taken: tuple[IdSet, ...]) -> Iterator[bytes]:
    start = blake2b(name.encode(), digest_size=KEY_NAME_LENGTH, person=b"homing list")
    misses = 0
    for number in count():
        member = start.copy()
        member.update(number.to_bytes(8, "big"))
        identifier = member.digest()
        if not any(identifier in id_set for id_set in taken):
            misses = 0
            yield identifier
        elif (misses := misses + 1) == _MOST_MISSES:
            raise AllocationError(
                "the ids that servers bring themselves leave no room for the others: narrow "
                "those ids"
            )
