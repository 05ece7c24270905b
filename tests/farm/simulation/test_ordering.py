"""With any rule of the order switched off something is lost: the simulation must find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import pytest

from homing.balancer.follower import Follower
from homing.balancer.management import manager
from homing.balancer.management.absences import Absences
from homing.server.agent import duties as agent
from homing.server.agent import parting
from homing.server.agent.duties import Duties
from homing.shared.farm_state.values import Exceptions
from homing.shared.farm_state.view import View
from homing.shared.moves import TRANSITIONS, PartEvent, PartStep
from tests.farm.simulation.balancer import Balancer
from tests.farm.simulation.run import Run
from tests.farm.simulation.server import Server
from tests.farm.simulation.world import Violation

MOST_SEEDS = 400

Switch = Callable[[pytest.MonkeyPatch], None]
SWITCHED_OFF: dict[str, Switch] = {}


def rule(switch: Switch) -> Switch:
    SWITCHED_OFF[switch.__name__] = switch
    return switch


@rule
def a_part_is_opened_when_all_balancers_route_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(View, "is_routed", lambda view, revision: True)


@rule
def a_part_is_marked_as_drawn_before_it_is_drawn_from(patch: pytest.MonkeyPatch) -> None:
    take = Server.take

    def early(server: Server, due: Duties) -> None:
        take(server, due)
        fresh = (
            number
            for number in server.view.owned.get(server.name, ())
            if server.view.parts[number].value.step is PartStep.HELD
            and server.view.is_routed(server.view.parts[number].revision)
        )
        server.drawing |= {number: frozenset() for number in fresh if number not in server.drawing}

    patch.setattr(Server, "take", early)


@rule
def a_server_stops_drawing_before_it_says_so(patch: pytest.MonkeyPatch) -> None:
    def late(server: Server, due: Duties) -> None:
        if server.idle and due.transactions:
            server.outbox.extend(due.transactions)
        elif server.idle:
            server.drawing = dict(due.drawing)

    patch.setattr(Server, "take", late)


@rule
def a_part_is_given_when_its_owner_has_stopped(patch: pytest.MonkeyPatch) -> None:
    for steps in TRANSITIONS.values():
        patch.setitem(steps[PartStep.LEAVING], PartEvent.GIVEN, PartStep.HELD)


@rule
def a_drained_part_is_given_when_nothing_lives(patch: pytest.MonkeyPatch) -> None:
    for steps in TRANSITIONS.values():
        patch.setitem(steps[PartStep.STOPPED], PartEvent.GIVEN, PartStep.HELD)


@rule
def exceptions_are_looked_up_first(patch: pytest.MonkeyPatch) -> None:
    def none(follower: Follower, view: View, numbers: set[int]) -> dict[int, dict[bytes, str]]:
        return {}

    patch.setattr(Follower, "_exceptions", none)


@rule
def exceptions_are_not_drawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agent, "_exceptions", lambda view, part: frozenset())


@rule
def exceptions_that_have_ended_are_not_drawn_until_all_tables_are_without_them(
    patch: pytest.MonkeyPatch,
) -> None:
    def at_once(page: Exceptions, living: Iterable[str], is_routed: bool) -> Exceptions | None:
        lives = tuple(one for one in page.identifiers if one in set(living))
        return Exceptions(lives) if lives else None

    patch.setattr(parting, "shortened", at_once)
    patch.setattr(manager, "shortened", at_once)


@rule
def a_server_stops_drawing_before_its_assignment_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Server, "may_draw", lambda server: True)


@rule
def a_server_draws_by_a_view_that_has_its_assignment(patch: pytest.MonkeyPatch) -> None:
    def any_view(server: Server) -> bool:
        return server.assignment.held

    patch.setattr(Server, "knows_its_assignment", any_view)


@rule
def what_a_lost_server_drew_from_is_kept_for_the_lifetime_of_sessions(
    patch: pytest.MonkeyPatch,
) -> None:
    over = Absences.over
    patch.setattr(Absences, "over", lambda absences, lifetime, now: over(absences, 0.0, now))


@rule
def a_balancer_accepts_when_it_has_followed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Balancer, "accepts", lambda balancer: True)


@rule
def a_balancer_says_what_it_follows_after_its_table_does(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Balancer, "epoch", lambda balancer: balancer.world.registry.revision)


@rule
def a_removed_server_keeps_its_record_until_it_says_that_nothing_lives(
    patch: pytest.MonkeyPatch,
) -> None:
    presence = Server._presence
    patch.setattr(
        Server,
        "_presence",
        lambda server: attrs.evolve(presence(server), sessions=0, epoch=1 << 40),
    )


def go(seeds: int) -> None:
    for seed in range(seeds):
        Run(seed).go()


@pytest.mark.parametrize("name", SWITCHED_OFF)
def test_a_rule_that_is_switched_off_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SWITCHED_OFF[name](monkeypatch)
    with pytest.raises(Violation):
        go(MOST_SEEDS)
