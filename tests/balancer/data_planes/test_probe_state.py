"""The health of a relayed server: every event in every state is answered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from homing.balancer.data_planes.probe_state import TRANSITIONS, UP, ProbeEvent, ServerHealth

REACHED, UNREACHED, ANSWERED, FAILED, IMPOSTOR = ProbeEvent


def after(events: Sequence[ProbeEvent], state: ServerHealth = ServerHealth.DOWN) -> ServerHealth:
    for event in events:
        state = TRANSITIONS[state][event]
    return state


@pytest.mark.parametrize("state", ServerHealth)
@pytest.mark.parametrize("event", ProbeEvent)
def test_no_event_in_any_state_gives_clients_to_a_server_that_has_just_failed_them(
    state: ServerHealth, event: ProbeEvent
) -> None:
    follows = TRANSITIONS[state][event]
    if event is ANSWERED:
        assert follows is ServerHealth.UP
    if event in (UNREACHED, IMPOSTOR):
        assert follows not in UP
    if event is FAILED:
        assert follows is not ServerHealth.UP
    if follows in UP and state not in UP:
        assert event in (ANSWERED, REACHED)


def test_one_probe_that_fails_takes_no_clients_away_and_two_do() -> None:
    assert after((REACHED, FAILED)) in UP
    assert after((REACHED, FAILED, ANSWERED, FAILED)) in UP
    assert after((REACHED, FAILED, FAILED)) not in UP


def test_a_hung_server_is_not_up_for_being_reached_but_for_answering() -> None:
    hung = after((REACHED, FAILED, FAILED))
    assert after((REACHED, UNREACHED, FAILED, REACHED), hung) not in UP
    assert after((ANSWERED,), hung) in UP


def test_a_server_that_clients_do_not_reach_is_down_at_once_and_up_once_it_is_reached() -> None:
    assert after((REACHED, UNREACHED)) not in UP
    assert after((REACHED, UNREACHED, FAILED, REACHED)) in UP
