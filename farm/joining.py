"""Joins a balancer or a server to the farm's registry (Fig. 3)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import attrs
from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from homing.balancer.data_planes.relay import RelayOptions
from homing.balancer.follower import Follower
from homing.balancer.following import Following
from homing.balancer.saved import Saved
from homing.balancer.service import Balancer
from homing.balancer.ways import To, Way
from homing.farm import wishes
from homing.farm.by_names import ByNames, by_names
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.ways import ways
from homing.server.agent.drawing import Drawing
from homing.server.agent.owned import of_group
from homing.server.agent.service import Agent
from homing.server.agent.telling import Identity
from homing.server.files import read, replace
from homing.server.service import TLSServer
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import BalancerPresence, ManagerPresence, Needs, ServerFacts
from homing.shared.farm_state.view import View
from homing.shared.part import Part
from homing.shared.registry.interface import Batch, Item, Registry, Transaction
from homing.shared.registry.steady_clock import SteadyClock
from homing.shared.schemes import SCHEMES

PATIENCE = 2.0
"""Seconds after which a server takes clients though the registry has assigned it nothing."""

_MACHINE = Path("/etc/machine-id")

_log = Logger()


class Wanted:
    """What farm.toml, as it was read last, wants of the farm."""

    def __init__(self, config: FarmConfig) -> None:
        self.config = config

    def __call__(self, view: View) -> Iterator[Transaction]:
        return wishes.transactions(self.config, view)

    def alone(self) -> Batch:
        """A farm's state that is nothing else."""
        wanted = wishes.changes(self.config, View())
        return Batch(0, {key: Item(encode(each), 0) for key, each in wanted.items()}, is_whole=True)


@attrs.frozen
class Joined:
    """What runs a balancer or a server that has joined a registry."""

    service: IService
    look_again: Callable[[], None]
    """To be called when the keys of the scheme have changed."""
    renew: Callable[[FarmConfig], None] = lambda config: None
    """To be called with what farm.toml wants now."""
    leave: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Of a balancer: has it accept no more, and leave the registry."""


def following(
    reactor: Any,
    registry: Registry,
    config: FarmConfig,
    balancer: Balancer,
    name: str,
    saved_as: str,
    workers: int = 1,
) -> Joined:
    """A balancer that follows the registry, under that name; its table is saved as `saved_as`.

    It is one of so many `workers`.
    """
    section, incarnation, wanted = config.balancer, token_hex(8), Wanted(config)
    module = Following(
        reactor,
        registry,
        balancer,
        Follower(by_names(config), _warn, by_group=section.group_choice == "policy"),
        ways(config) if workers == 1 else _among_workers(ways(config)),
        me=ManagerPresence(name, incarnation, _home(config)),
        presence=BalancerPresence(
            incarnation, _home(config), listen=tuple(map(str, section.listen))
        ),
        saved=Saved(reactor, deferToThread, config.state_dir / f"table-{saved_as}", read, replace),
        without=wanted.alone,
        wishes=wanted,
    )

    def renew(config: FarmConfig) -> None:
        wanted.config = config
        module.look_again()

    return Joined(module, module.look_again, renew, module.leave)


def _among_workers(to: To) -> To:
    """`to`, which warns once of each server whose identifiers only one worker learns."""
    told = set()

    def warning(name: str, facts: ServerFacts) -> Way:
        way = to(name, facts)
        learns = isinstance(way, RelayOptions) and way.learn_ids and facts.ids is None
        if learns and name not in told:
            told.add(name)
            words = "what {name} gives out is remembered only by the worker that relayed it: say "
            _log.warn(words + "workers = 1", name=name)
        return way

    return warning


def member(
    reactor: Any, registry: Registry, config: FarmConfig, section: ServerSection, server: TLSServer
) -> Member:
    """A server that draws what the registry assigns to it."""
    name, scheme = section.name, SCHEMES[config.session_ids.scheme]
    fellows = (name,) if section.group is None else config.members(section.group)
    assign = None if scheme.cut is not None else by_names(config, frozenset(fellows))
    me = Identity(
        name=name,
        incarnation=token_hex(8),
        home=_home(config),
        facts=wishes.facts(section),
        needs=Needs(
            config.session_ids.cache,
            None if section.share is None else float(section.share.part),
            section.max_ids,
        ),
        shares_sessions=server.group is not None,
    )

    def changed(view: View) -> None:
        if server.group is not None and section.group is not None:
            server.group.records = of_group(view, section.group, scheme, assign)

    clock = SteadyClock(reactor)
    agent = Agent(
        clock,
        registry,
        me,
        Drawing(name, scheme, _of_one(name, assign)),
        server.issuer,
        leave=server.leave,
        changed=changed,
    )
    return Member(clock, server, agent)


def _of_one(name: str, assign: ByNames | None) -> Callable[[tuple[str, ...]], Part] | None:
    return None if assign is None else lambda names: assign(names)[name]


def _home(config: FarmConfig) -> str:
    """This machine (machine-id(5)) and the farm's state folder on it."""
    try:
        machine = _MACHINE.read_text("ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return f"{machine or socket.gethostname()}:{config.state_dir.absolute()}"


def _warn(line: str) -> None:
    _log.warn("{line}", line=line)


class Member(MultiService):
    """A server and its agent, which ends at once while the server's connections finish."""

    def __init__(self, clock: IReactorTime, server: TLSServer, agent: Agent) -> None:
        super().__init__()
        self._clock = clock
        self._server = server
        self.agent = agent
        agent.setServiceParent(self)

    def startService(self) -> None:
        super().startService()
        ready = self.agent.when_ready().addTimeout(PATIENCE, self._clock)
        self._server.wait_for(ready.addErrback(self._go_without))
        self._server.setServiceParent(self)  # once the agent has taken the record in hand

    def _go_without(self, _: object) -> None:
        _log.warn(
            "{name} takes clients, but the registry has assigned it nothing yet: they get no "
            "session to resume",
            name=self._server.name,
        )
