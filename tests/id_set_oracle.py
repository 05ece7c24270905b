"""ID sets by brute force: plain numbers, one at a time, to compare the real ones with."""

from __future__ import annotations

from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits

LIMIT = 1 << 12
"""Sets with more members than this are not listed."""


def to_int(identifier: bytes) -> int:
    """32 bytes as a number."""
    assert len(identifier) == 32
    return int.from_bytes(identifier, "big")


def holds(id_set: IdSet, value: int) -> bool:
    """Whether the set has the identifier with that number."""
    if isinstance(id_set, IdRange):
        return to_int(id_set.first) <= value <= to_int(id_set.last)
    if isinstance(id_set, MandatoryBits):
        mask, wanted = f"{to_int(id_set.mask):0256b}", f"{to_int(id_set.value):0256b}"
        bits = f"{value:0256b}"
        return all(bits[i] == wanted[i] for i in range(256) if mask[i] == "1")
    assert isinstance(id_set, IdList)
    return value in [to_int(member) for member in id_set.members]


def listed(id_set: IdSet) -> list[int] | None:
    """The numbers of all members in order, None if there are too many."""
    if isinstance(id_set, IdList):
        return sorted(to_int(member) for member in id_set.members)
    if isinstance(id_set, IdRange):
        first, last = to_int(id_set.first), to_int(id_set.last)
        return list(range(first, last + 1)) if last - first < LIMIT else None
    assert isinstance(id_set, MandatoryBits)
    mask = to_int(id_set.mask)
    free = [1 << place for place in range(256) if not mask >> place & 1]
    if 1 << len(free) > LIMIT:
        return None
    members = [to_int(id_set.value)]
    for bit in free:
        members += [member | bit for member in members]
    return sorted(members)


def common(one: IdSet, other: IdSet) -> tuple[int, int] | None:
    """The lowest and highest number in both; one of the two must be small, or both be ranges."""
    for small, any_set in ((one, other), (other, one)):
        members = listed(small)
        if members is not None:
            shared = [member for member in members if holds(any_set, member)]
            return (shared[0], shared[-1]) if shared else None
    assert isinstance(one, IdRange)
    assert isinstance(other, IdRange)
    if holds(one, to_int(other.first)) or holds(other, to_int(one.first)):
        ends = sorted(to_int(end) for each in (one, other) for end in (each.first, each.last))
        return ends[1], ends[2]
    return None
