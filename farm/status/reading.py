"""What a view of the registry says of the farm.  Pure."""

from __future__ import annotations

from datetime import datetime

from homing.balancer.management.claims import owes_nothing
from homing.farm.status.moves import moves
from homing.farm.status.parts import own_records, parts, shares
from homing.farm.status.values import BalancerStatus, RefusalStatus, ServerStatus, Status
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import ManagerPresence, ServerState
from homing.shared.farm_state.view import View


def status(view: View, now: datetime) -> Status:
    """The farm as `view` has it at `now`."""
    manager: ManagerPresence | None = view.single(keys.MANAGER)
    balancers = [
        BalancerStatus(name, known.value.epoch) for name, known in sorted(view.balancers.items())
    ]
    owned, spare = shares(view)
    known = view.wishes.keys() | view.servers.keys() | owned.keys()
    names = sorted(name for name in known if _is_shown(view, name))
    return Status(
        epoch=epoch(view),
        scheme=None if view.farm is None else view.farm.scheme,
        manager=None if manager is None else manager.name,
        balancers=balancers,
        servers=[_server(view, name, owned.get(name, 0.0)) for name in names],
        spare=spare,
        parts=[*parts(view), *own_records(view)],
        moves=list(moves(view, now)),
        refusals=[
            RefusalStatus(name, known.value.why) for name, known in sorted(view.refusals.items())
        ],
    )


def epoch(view: View) -> int:
    """The revision of the last change that table 130 depends on."""
    # After a removal, balancers may know of a later one than those that are left show
    return max([view.routing, *(known.value.epoch for known in view.balancers.values())])


def _server(view: View, name: str, share: float) -> ServerStatus:
    wish, there = view.wishes.get(name), view.servers.get(name)
    known = wish or there
    facts = None if known is None else known.value.facts
    return ServerStatus(
        name=name,
        address="" if facts is None else facts.address,
        up=there is not None if facts is None or facts.managed else None,
        state=_state(view, name),
        leaves=wish is not None and wish.value.state is ServerState.REMOVED,
        epoch=there.value.epoch if there else 0,
        share=share,
        sessions=there.value.sessions if there else 0,
        weight=wish.value.weight if wish else 1.0,
    )


def _state(view: View, name: str) -> str:
    wish = view.wishes.get(name)
    if wish is None:
        return "new"
    if name in view.refusals:
        return "refused"
    if wish.value.state is ServerState.ACTIVE:
        return "active"
    return "drained" if owes_nothing(view, name) else "draining"


def _is_shown(view: View, name: str) -> bool:
    """Whether the server is of the farm; for farm.toml a mark stays of those that were removed."""
    wish = view.wishes.get(name)
    return wish is None or wish.value.state is not ServerState.GONE
