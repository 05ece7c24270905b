"""Digests of records: whether a balancer and a server were given the same, said without secrets.

A server tells its digest in the hand-off's greeting; the balancer compares it with what its own
farm.toml and key files give that server (patent, p. 6: "a human system manager who ensures that the
values are compatible").  Pure.
"""

from __future__ import annotations

import json
from hashlib import sha256

from homing.shared.by_function import ByFunction
from homing.shared.id_sets import IdList, IdSet, to_data
from homing.shared.part import Part, Without
from homing.shared.record import Record

DIGEST_LENGTH = 16


def digests(record: Record) -> tuple[bytes, ...]:
    """The digests that a server of `record` may have, `DIGEST_LENGTH` bytes each.

    The first is that of a server which draws by the same record.  There are more where a key is
    being changed: a server that still draws with the old one agrees, too.  The order of parts does
    not count.
    """
    parts = [_digests(part) for part in record.parts]
    count = max((len(each) for each in parts), default=1)
    return tuple(
        _short(b"".join(sorted(each[min(number, len(each) - 1)] for each in parts)))
        for number in range(count)
    )


def digest(record: Record) -> bytes:
    """The digest of a server that draws by `record`."""
    return digests(record)[0]


def _digests(part: Part) -> tuple[bytes, ...]:
    if isinstance(part, ByFunction):
        excluded = sorted(_set(one) for one in part.excluded)
        start = f"{part.scheme} {part.owner}\0".encode() + b"".join(excluded)
        return tuple(_short(start + one) for one in part.function.fingerprints(part.owner))
    if isinstance(part, Without):
        return _digests(part.part)
    if isinstance(part, IdSet):
        return (_set(part),)
    raise TypeError(f"no digest is known for {part!r}")


def _set(id_set: IdSet) -> bytes:
    if isinstance(id_set, IdList):
        return _short(b"list " + b"".join(id_set.members))  # which may be a million
    return _short(json.dumps(to_data(id_set), sort_keys=True).encode())


def _short(data: bytes) -> bytes:
    return sha256(b"homing record\0" + data).digest()[:DIGEST_LENGTH]
