"""``list``: every server has a list of identifiers, scattered over all of them (patent, p. 6).

In a division each part is a list, scattered over the arena.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import count, islice

from homing.shared.id_sets import IdList, IdSet
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH, padded
from homing.shared.part import Part
from homing.shared.schemes.arena import no_room
from homing.shared.schemes.base import Need, Request, Scheme, Settings
from homing.shared.schemes.division import PREFIX_LENGTH, Division, Locate

PART_SIZE = 512
"""Identifiers of a part of a division."""
_NUMBER_LENGTH = 4
_CHECK_LENGTH = KEY_NAME_LENGTH - PREFIX_LENGTH - _NUMBER_LENGTH
_CHECK_AT = PREFIX_LENGTH + _NUMBER_LENGTH
_MOST_MISSES = 10_000
_LONGEST = 1_000_000
"""Members of a list that the balancer holds, at most, for one server."""


def lists(needs: Iterable[Need], size: int, occupied: Sequence[IdSet] = ()) -> dict[str, Part]:
    """A list for every owner: `max_ids` identifiers or, where it asks for none, `size`.

    They follow from the owner's name.  Each ends in 16 zero bytes, so that it can be a ticket's key
    name too.  Raises AllocationError.
    """
    return {
        need.owner: IdList(islice(_scattered(need.owner, occupied), need.max_ids or size))
        for need in needs
    }


def _scattered(owner: str, occupied: Sequence[IdSet]) -> Iterator[bytes]:
    start = blake2b(owner.encode(), digest_size=KEY_NAME_LENGTH, person=b"homing list")
    misses = 0
    for number in count():
        member = start.copy()
        member.update(number.to_bytes(8, "big"))
        identifier = member.digest()
        if not any(identifier in id_set for id_set in occupied):
            misses = 0
            yield identifier
        elif (misses := misses + 1) == _MOST_MISSES:
            raise no_room()


def _limits(needs: Sequence[Need], settings: Settings) -> Iterator[str]:
    if settings.cache > _LONGEST // 2:
        yield f"session_ids.cache: a list is twice as long; at most {_LONGEST // 2} is allowed"
    for need in needs:
        if (need.max_ids or 0) > _LONGEST:
            yield f'server "{need.owner}": max_ids: a list has at most {_LONGEST} members'


def _assign(request: Request) -> dict[str, Part]:
    return lists(request.needs, 2 * request.settings.cache, request.occupied)


def _cut(division: Division, part: int) -> IdList:
    """Identifiers that are scattered over the arena and none of which two parts have.

    Behind the prefix stand 4 bytes, the identifier's number, hidden by a hash of 8 more, which are
    a hash of the number.
    """
    first = part * PART_SIZE
    return IdList(division.prefix + _scatter(one) for one in range(first, first + PART_SIZE))


def _scatter(one: int) -> bytes:
    check = _hashed(one.to_bytes(_NUMBER_LENGTH, "big"))
    return (one ^ _mask(check)).to_bytes(_NUMBER_LENGTH, "big") + check


def _hashed(data: bytes) -> bytes:
    return blake2b(data, digest_size=_CHECK_LENGTH, person=b"homing list part").digest()


def _mask(check: bytes) -> int:
    return int.from_bytes(_hashed(check)[:_NUMBER_LENGTH], "big")


def _locate(division: Division) -> Locate:
    """A list too long to be held is computed: two hashes for an identifier of the arena."""
    prefix, end = division.prefix, bytes(LENGTH - KEY_NAME_LENGTH)
    numbers = division.count * PART_SIZE

    def locate(identifier: bytes) -> int | None:
        key = padded(identifier)
        if not key.startswith(prefix) or not key.endswith(end):
            return None
        hidden, check = key[PREFIX_LENGTH:_CHECK_AT], key[_CHECK_AT:KEY_NAME_LENGTH]
        one = int.from_bytes(hidden, "big") ^ _mask(check)
        return (
            one // PART_SIZE if one < numbers and _scatter(one)[_NUMBER_LENGTH:] == check else None
        )

    return locate


LIST = Scheme(
    name="list",
    assign=_assign,
    cut=_cut,
    locate=_locate,
    limits=_limits,
    server_keys=frozenset({"max_ids"}),
    each_its_own=True,  # two servers that draw from one list would give out the same
)
