"""What the benchmark of servers measures is what it says: resumed visits, and full handshakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.tls_clients.client import WrongAnswer
from bench.tls_clients.crowd import Crowd
from bench.tls_servers import ours
from bench.tls_servers.one_server import HANDSHAKES
from bench.tls_servers.running import Certificate, Serve
from tests.processes import free_port
from tests.tls import certificates


@pytest.mark.parametrize("serve", [ours.twisted, ours.over_tcp, ours.by_hand_off])
def test_clients_that_return_are_resumed_and_new_ones_shake_hands(
    serve: Serve, tmp_path: Path
) -> None:
    demo = certificates()
    with serve(tmp_path / "server", Certificate(demo.certificate, demo.key)) as running:
        for kind in (one.kind for one in HANDSHAKES):
            crowd = Crowd(running.port, 3 * [kind])
            crowd.meet()
            done = crowd.visit(9)
            assert len(done.visits) == 9
            assert done.resumed == (9 if kind.returns else 0), kind


def test_a_server_that_is_not_there_ends_the_measurement() -> None:
    with pytest.raises(OSError, match="refused"):
        Crowd(free_port(), [HANDSHAKES[0].kind]).meet()


def test_another_answer_ends_the_measurement(tmp_path: Path) -> None:
    demo = certificates()
    certificate = Certificate(demo.certificate, demo.key)
    with ours.over_tcp(tmp_path / "server", certificate, app=None) as running:  # the demo's page
        with pytest.raises(WrongAnswer):
            Crowd(running.port, [HANDSHAKES[0].kind]).meet()
