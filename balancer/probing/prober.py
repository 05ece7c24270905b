"""Probes one relayed server now and then, draws conclusions, and says loudly what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
from OpenSSL import SSL
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.data_planes.probe_state import ProbeEvent
from homing.balancer.data_planes.relay import ProbeOptions
from homing.balancer.descriptor_reserve import OUT_OF_RESOURCES
from homing.balancer.probing.conclusions import (
    WELL,
    Conclusion,
    End,
    Finding,
    Topic,
    Visit,
    of_certificate,
    of_health,
    of_sessions,
)
from homing.balancer.probing.visiting import Outcome, Visiting, Way, client_context
from homing.shared.candidates import Candidate

_VERSIONS = {Topic.TLS_1_2: SSL.TLS1_2_VERSION, Topic.TLS_1_3: SSL.TLS1_3_VERSION}

_FULL_EVERY = 30
"""Probes after which a full handshake is made, in which the server shows its certificate."""

_SOONER = 10
"""How much sooner the next probe comes after one that failed."""


class Probed(Protocol):
    """The way to a server, as far as probing needs it."""

    name: str

    def connect(self, protocol: protocol.Protocol) -> Deferred[IProtocol]:
        """Connect `protocol` to it."""

    def happens(self, event: ProbeEvent) -> None:
        """A probe has shown this."""


@attrs.frozen
class Routing:
    """What a probe asks of the balancer, and tells it."""

    owner_of: Callable[[bytes], str | None]
    """To whom an identifier sends its client; None where the policy decides."""
    is_home: Callable[[str, str], bool]
    """Whether a server knows the sessions of an owner."""
    seen: Callable[[str, Candidate], None]
    """A server has given this out."""


class OutOfDescriptors(Exception):
    """The balancer cannot open a connection: that says nothing about the server."""


class Prober:
    """Visits a server in TLS 1.2, then in TLS 1.3, each time with the session of the visit before.

    A server that resumes it makes no full handshake for a probe; in TLS 1.2 it draws no ID either.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        server: Probed,
        options: ProbeOptions,
        proxy_protocol: bool,
        routing: Routing,
    ) -> None:
        self.findings: dict[Topic, Finding] = {}
        """The last of each kind."""
        self._clock = clock
        self._server = server
        self._options = options
        self._proxy_protocol = proxy_protocol
        self._routing = routing
        self._trust: tuple[int, ...] = ()
        self._contexts: dict[Topic, SSL.Context] = {}
        self._sessions: dict[Topic, SSL.Session] = {}
        self._count = 0
        self._stopped = False
        self._next: IDelayedCall | None = None
        self._under_way: Deferred[bool] | None = None

    def start(self) -> None:
        """Probe, now and from now on."""
        self._begin()

    def stop(self) -> None:
        """Probe no more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._under_way is not None:
            self._under_way.cancel()

    def _begin(self) -> None:
        self._next = None
        self._under_way = under_way = Deferred.fromCoroutine(self._probe())
        under_way.addErrback(self._failed).addCallback(self._ended)

    def _failed(self, failure: Failure) -> bool:
        """The probe did not come about, which says nothing about the server."""
        if not self._stopped and not failure.check(OutOfDescriptors):
            self._log.failure("probing {name}", failure, name=self._server.name)
        return True

    def _ended(self, is_well: bool) -> None:
        """Set the time of the next probe."""
        self._under_way = None
        if not self._stopped:
            pause = self._options.every / (1 if is_well else _SOONER)
            self._next = self._clock.callLater(pause * random.uniform(0.75, 1.25), self._begin)  # noqa: S311

    async def _probe(self) -> bool:
        """Visit the server in every version, and draw the conclusions; whether it gets clients."""
        if self._count % _FULL_EVERY == 0:
            self._sessions.clear()
        self._count += 1
        self._renew_contexts()
        if not self._contexts:
            return False
        visits: list[Visit] = []
        findings: dict[Topic, Finding | None] = {}
        for topic in self._contexts:
            found = await self._visit_twice(topic)
            visits += found
            findings[topic] = self._of_sessions(found[-1])
            certificate = of_certificate(found[0], self._options.strict)
            if certificate is not None:
                findings[Topic.CERTIFICATE] = certificate
            if found[-1].end is End.SILENT:
                break
        event, findings[Topic.ANSWER] = of_health(visits, self._options.within)
        for topic, finding in findings.items():
            if finding is not None:
                self._found(topic, finding)
        return self._tell(event)

    def _of_sessions(self, visit: Visit) -> Finding | None:
        """Whether clients come back; what the server gave out last is looked up, then learned."""
        if self._is_refused(visit):
            return None
        name, routing = self._server.name, self._routing
        finding = of_sessions(visit, routing.owner_of, lambda owner: routing.is_home(name, owner))
        if visit.brings is not None:
            routing.seen(name, visit.brings)
        return finding

    def _tell(self, event: ProbeEvent) -> bool:
        """Tell the data plane; an impostor's answer does not count."""
        if event is ProbeEvent.ANSWERED:
            certificate = self.findings.get(Topic.CERTIFICATE)
            if certificate is not None and certificate.conclusion is Conclusion.IMPOSTOR:
                event = ProbeEvent.IMPOSTOR
            elif self._options.strict and certificate is None:
                event = ProbeEvent.FAILED  # nobody knows yet who it is
        self._server.happens(event)
        return event is ProbeEvent.ANSWERED

    async def _visit_twice(self, topic: Topic) -> list[Visit]:
        """Visit it with the session that there is; where that is not resumed, with the new one."""
        visits: list[Visit] = []
        while True:
            offered = self._sessions.pop(topic, None)
            outcome = await self._visit(topic, offered)
            visit = outcome.visit
            visits.append(visit)
            if outcome.session is not None and not self._is_refused(visit):
                self._sessions[topic] = outcome.session
            if visit.resumed or len(visits) == 2 or topic not in self._sessions:
                return visits
            assert visit.brings is not None
            self._routing.seen(self._server.name, visit.brings)

    def _is_refused(self, visit: Visit) -> bool:
        return self._options.strict and visit.distrust is not None

    async def _visit(self, topic: Topic, offered: SSL.Session | None) -> Outcome:
        way = Way(
            self._contexts[topic], _VERSIONS[topic], self._options.tls_name, self._proxy_protocol
        )
        visiting = Visiting(self._clock, way, offered, self._options.within)
        try:
            await self._server.connect(visiting.over_tls())
        except Exception as error:
            if self._stopped:
                raise
            if getattr(error, "osError", None) in OUT_OF_RESOURCES:
                raise OutOfDescriptors from error
            return Outcome(Visit(End.REFUSED, str(error)))
        return await visiting.over

    def _renew_contexts(self) -> None:
        """Read the CA's file again if it is another one; sessions are of their context alone."""
        ca = self._options.ca
        trust = _stamp(ca) if ca is not None else (1,)
        if trust == self._trust:
            return
        try:
            fresh = {topic: client_context(version, ca) for topic, version in _VERSIONS.items()}
        except SSL.Error:
            self._log.warn(
                "{name} {is_probed}: {ca} is no CA's certificate in PEM",
                name=self._server.name,
                is_probed="is probed with the CA it had" if self._contexts else "cannot be probed",
                ca=str(ca),
            )
        else:
            self._contexts = fresh
            self._sessions.clear()
        self._trust = trust

    def _found(self, topic: Topic, finding: Finding) -> None:
        """Note a finding; say it if it is news, unless all was well and is."""
        before, self.findings[topic] = self.findings.get(topic, WELL), finding
        if before == finding or (before.is_well and finding.is_well):
            return
        facts = {"name": self._server.name, "topic": topic.value, "finding": str(finding)}
        if finding.is_well:
            self._log.info("{name}, {topic}: {finding} again", **facts)
        elif finding.conclusion in (Conclusion.IMPOSTOR, Conclusion.ELSEWHERE):
            self._log.error("{name}, {topic}: {finding}", **facts)
        else:
            self._log.warn("{name}, {topic}: {finding}", **facts)


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does; -1 where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return (-1,)
    return status.st_mtime_ns, status.st_ino, status.st_size
