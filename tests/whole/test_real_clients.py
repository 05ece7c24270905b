"""Real TLS clients x what they bring back: each comes home to its server and resumes there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import pytest

from homing.farm.commands.s_client import CARRIERS, Visit
from homing.farm.processes.local import LocalFarm
from homing.farm.processes.run import COMMAND
from homing.shared.schemes import SCHEMES
from tests.processes import PLANES, demo_farm
from tests.whole.chromium import CHROMIUM
from tests.whole.real_clients import REAL_CLIENTS, WAYS, Visits, Way

_ALL = {**REAL_CLIENTS, "chromium": CHROMIUM}
_MATRIX = [(client, way) for client, one in _ALL.items() for way in one.ways]

Farms = Callable[[str, str], LocalFarm]


@pytest.fixture(scope="module")
def farm_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farms]:
    """The demo farm of four servers with a mode of resumption and a data plane.

    One of each for the whole module.
    """
    with ExitStack() as stack:

        @cache
        def start(resumption: str, plane: str) -> LocalFarm:
            state = tmp_path_factory.mktemp(f"{resumption}-{plane}")
            options = ["--resumption", resumption, *PLANES[plane]]
            return stack.enter_context(demo_farm(state, *options))

        yield start


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("name", "carrier"), _MATRIX, ids=["-by-".join(one) for one in _MATRIX])
def test_a_real_client_that_comes_back_is_spared_the_full_handshake(
    farm_with: Farms, name: str, carrier: str, plane: str
) -> None:
    client, way = _ALL[name], WAYS[carrier]
    if reason := client.missing():
        pytest.skip(reason)
    farm = farm_with(way.resumption, plane)
    histories = client.come_back(farm, way, client.clients, 1 + client.returns)
    assert [len(visits) for visits in histories] == [1 + client.returns] * client.clients
    assert {visits[0].server for visits in histories} == {"s1", "s2", "s3", "s4"}
    for first, *returns in histories:
        assert _facts(first, way) == (False, False, None, first.server)
        for back in returns:
            assert _facts(back, way) == (True, True, way.carrier, first.server)
    for visits in histories:
        _made_a_connection_for_each(visits)
        _brought_back_what_it_was_given(visits, way)


@pytest.mark.deep
@pytest.mark.timeout(400)
def test_openssl_resumes_by_every_scheme_and_carrier_on_both_planes(tmp_path: Path) -> None:
    """The table of `homing bench hit-rate`."""
    numbers = tmp_path / "numbers.json"
    options = ("--clients", "2", "--rounds", "1", "--servers", "2", "--json", str(numbers))
    command = [*COMMAND, "bench", "hit-rate", "--matrix", *options]
    subprocess.run(command, check=True, timeout=380)
    rows = json.loads(numbers.read_text())["results"]
    seen = {(row["scheme"], row["plane"], row["carrier"]): row["hit_rate"] for row in rows}
    assert seen == dict.fromkeys(product(SCHEMES, PLANES, CARRIERS), 100.0)


def _facts(visit: Visit, way: Way) -> tuple[bool, bool, str | None, str]:
    """Resumed by the client's word and by the server's, the carrier, the server."""
    assert visit.session is not None
    assert visit.session["protocol"] == f"TLSv{way.tls}"
    seen = visit.session
    return visit.resumed, seen["resumed"], seen["carrier"], seen["server"]


def _made_a_connection_for_each(visits: Visits) -> None:
    ends = [visit.session["client"] for visit in visits if visit.session is not None]
    assert len(ends) == len(visits)
    # Only in a row: the system may give a port out again
    assert all(one != other for one, other in pairwise(ends))


def _brought_back_what_it_was_given(visits: Visits, way: Way) -> None:
    given: set[str] = set()
    for visit in visits:
        assert visit.session is not None
        if visit.resumed:
            assert visit.session["identifier"][: 2 * way.issued] in given
        given.update(visit.session["issued"])
    assert {len(identifier) for identifier in given} == {2 * way.issued}
