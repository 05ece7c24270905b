"""What relayed servers are seen to give out: by probing them, and in what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homing.balancer.data_planes.base import DataPlane
from homing.balancer.data_planes.relay import Relay
from homing.balancer.probing.prober import Prober, Routing
from homing.balancer.routing import Rules
from homing.balancer.ways import Way
from homing.shared.candidates import Candidate, Carrier
from homing.shared.identifiers import KEY_NAME_LENGTH


class Observing:
    """Remembers what servers give out, as far as the `rules` in force let them claim it."""

    def __init__(self, reactor: Any, rules: Callable[[], Rules]) -> None:
        self.probers: dict[str, Prober] = {}
        """By the name of the server that each probes."""
        self._reactor = reactor
        self._rules = rules

    def add(self, name: str, plane: DataPlane, way: Way) -> None:
        """A server has come; it is probed from `start` on, if it is to be."""
        if isinstance(way, str) or way.probe is None or not isinstance(plane, Relay):
            return
        routing = Routing(
            owner_of=lambda identifier: self._rules().owner_of(identifier, self._reactor.seconds()),
            is_home=lambda server, owner: self._rules().is_home(server, owner),
            seen=self._seen if way.learn_ids else lambda server, brought: None,
        )
        self.probers[name] = Prober(self._reactor, plane, way.probe, way.proxy_protocol, routing)

    def start(self, name: str) -> None:
        """Begin to probe that server."""
        if name in self.probers:
            self.probers[name].start()

    def remove(self, name: str) -> None:
        """Probe that server no more."""
        if prober := self.probers.pop(name, None):
            prober.stop()

    def learn(self, server: str, identifier: bytes) -> None:
        """A relayed server has given a session ID out."""
        rules = self._rules()
        if rules.learned is not None and rules.may_claim(server, identifier):
            rules.learned.learn(identifier, server, self._reactor.seconds())

    def _seen(self, server: str, brought: Candidate) -> None:
        """A probed server has given this out: a key name stands for all tickets under that key."""
        if brought.carrier is Carrier.SESSION_ID:
            self.learn(server, brought.identifier)
            return
        rules = self._rules()
        is_key_name = len(brought.identifier) == KEY_NAME_LENGTH
        if rules.key_names is None or not is_key_name:
            return
        if rules.table.find(brought.identifier) is None:
            rules.key_names.learn(brought.identifier, server, self._reactor.seconds())
