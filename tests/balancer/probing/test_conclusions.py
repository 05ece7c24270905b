"""What follows from what a probe saw."""

from __future__ import annotations

import pytest

from homing.balancer.data_planes.probe_state import ProbeEvent
from homing.balancer.probing.conclusions import (
    WELL,
    Conclusion,
    End,
    Finding,
    Visit,
    of_certificate,
    of_health,
    of_sessions,
)
from homing.shared.candidates import Candidate, Carrier

BROUGHT = Candidate(Carrier.PSK, b"k" * 16)
RESUMED = Visit(End.SHAKEN, resumed=True, brings=BROUGHT)
FULL = Visit(End.SHAKEN, brings=BROUGHT)


def sessions(visit: Visit, owner: str | None = "s1") -> Finding | None:
    """Of s1."""
    return of_sessions(visit, lambda identifier: owner, lambda name: name == "s1")


@pytest.mark.parametrize(
    ("ends", "event", "conclusion"),
    [
        ((End.SHAKEN,), ProbeEvent.ANSWERED, Conclusion.FINE),
        ((End.FAILED, End.SHAKEN), ProbeEvent.ANSWERED, Conclusion.FINE),
        ((End.FAILED, End.FAILED), ProbeEvent.ANSWERED, Conclusion.FINE),
        ((End.REFUSED, End.SHAKEN), ProbeEvent.ANSWERED, Conclusion.FINE),
        ((End.REFUSED, End.REFUSED), ProbeEvent.FAILED, Conclusion.REFUSES),
        ((End.REFUSED, End.SILENT), ProbeEvent.FAILED, Conclusion.HANGS),
        ((End.SILENT,), ProbeEvent.FAILED, Conclusion.HANGS),
    ],
)
def test_a_server_is_well_if_it_answers_in_any_version(
    ends: tuple[End, ...], event: ProbeEvent, conclusion: Conclusion
) -> None:
    found, finding = of_health([Visit(end) for end in ends], 3.0)
    assert (found, finding.conclusion) == (event, conclusion)


@pytest.mark.parametrize(
    ("visit", "owner", "conclusion"),
    [
        (RESUMED, "s1", Conclusion.FINE),
        (RESUMED, "s2", Conclusion.ELSEWHERE),
        (RESUMED, None, Conclusion.UNLISTED),
        (FULL, "s1", Conclusion.NOT_RESUMED),
        (Visit(End.SHAKEN), "s1", Conclusion.NOT_RESUMED),
        (Visit(End.FAILED, "tlsv1 alert protocol version"), "s1", Conclusion.NOT_OFFERED),
        (Visit(End.FAILED, "wrong version number"), "s1", Conclusion.NO_HANDSHAKE),
    ],
)
def test_it_is_found_whether_clients_come_back(
    visit: Visit, owner: str | None, conclusion: Conclusion
) -> None:
    finding = sessions(visit, owner)
    assert finding is not None
    assert finding.conclusion is conclusion
    assert finding.is_well == (conclusion in (Conclusion.FINE, Conclusion.NOT_OFFERED))


@pytest.mark.parametrize("end", [End.REFUSED, End.SILENT])
def test_nothing_is_concluded_about_sessions_where_there_was_no_answer(end: End) -> None:
    assert sessions(Visit(end)) is None
    assert of_certificate(Visit(end), strict=True) is None


def test_a_certificate_counts_when_it_is_shown_and_only_strictness_shuts_out() -> None:
    wrong = Visit(End.SHAKEN, distrust="it has expired")
    assert of_certificate(FULL, strict=True) == WELL
    assert of_certificate(RESUMED, strict=True) is None
    assert of_certificate(wrong, strict=False) == Finding(Conclusion.DISTRUSTED, "it has expired")
    assert of_certificate(wrong, strict=True) == Finding(Conclusion.IMPOSTOR, "it has expired")


def test_the_same_fault_with_another_identifier_is_no_news() -> None:
    other = Visit(End.SHAKEN, resumed=True, brings=Candidate(Carrier.PSK, b"o" * 16))
    assert sessions(RESUMED, None) == sessions(other, None)
    assert sessions(RESUMED, "s2") != sessions(RESUMED, "s3")


def test_every_conclusion_can_be_said() -> None:
    for conclusion in Conclusion:
        assert "{" not in str(Finding(conclusion, "d", BROUGHT))
