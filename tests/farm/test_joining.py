"""What a balancer says of the servers that join its farm."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs

from homing.farm.joining import _among_workers
from homing.shared.farm_state.values import ServerFacts
from homing.shared.id_sets import IdRange
from tests.balancer.running import way_to

FACTS = ServerFacts("tcp:127.0.0.1:8443", managed=False)
KNOWN = ServerFacts("tcp:127.0.0.1:8443", managed=False, ids=(IdRange.of_prefix(b"SRV"),))


@pytest.mark.parametrize(
    ("learns", "facts", "warnings"), [(True, FACTS, 1), (True, KNOWN, 0), (False, FACTS, 0)]
)
def test_one_whose_sessions_only_one_worker_remembers_is_named_once(
    learns: bool, facts: ServerFacts, warnings: int
) -> None:
    to = _among_workers(lambda name, facts: way_to("127.0.0.1", 8443, learn_ids=learns))
    with capturedLogs() as logged:
        for _ in range(3):
            to("s9", facts)
    assert [event["name"] for event in logged] == ["s9"] * warnings
