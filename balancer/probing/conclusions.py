"""What a probe of a server saw, and what follows from it; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import attrs

from homing.balancer.data_planes.probe_state import ProbeEvent
from homing.shared.candidates import Candidate


class End(Enum):
    """How a visit to a server ended."""

    SHAKEN = "the handshake was completed"
    FAILED = "it said something, but there was no handshake"
    REFUSED = "it could not be connected to, or closed without a word"
    SILENT = "it did not complete the handshake in time"


@attrs.frozen
class Visit:
    """What one visit saw."""

    end: End
    words: str = ""
    """Why there was no handshake, where there was none."""
    resumed: bool = False
    distrust: str | None = None
    """What is wrong with its certificate; it shows none where a session is resumed."""
    brings: Candidate | None = None
    """The identifier that the client would bring back."""


class Topic(Enum):
    """What a finding is about."""

    ANSWER = "answers"
    CERTIFICATE = "certificate"
    TLS_1_2 = "TLS 1.2"
    TLS_1_3 = "TLS 1.3"


class Conclusion(Enum):
    """What is right or wrong with a server, and what to do about it."""

    FINE = "all is well"
    NOT_OFFERED = "it does not offer this version: {detail}"
    HANGS = (
        "it does not complete a handshake within {detail}; after two such probes it gets no "
        "connections until one succeeds: see whether it hangs"
    )
    REFUSES = (
        "it takes no connection ({detail}); after two such probes it gets no clients until one "
        "succeeds: see whether it runs"
    )
    NO_HANDSHAKE = (
        "there is no handshake: {detail}: see whether its clients fare alike; if only the balancer "
        "does, set probe = false"
    )
    DISTRUSTED = (
        "its certificate is not accepted, {detail}: renew it, or set tls_name and ca to what "
        "clients ask for"
    )
    IMPOSTOR = (
        "it gets no connections, as its certificate is not the one that tls_name and ca ask for: "
        "{detail}: see who answers there, and renew its certificate"
    )
    NOT_RESUMED = (
        "it resumes no session, so that every visit costs a full handshake: see whether it has a "
        "session cache or tickets"
    )
    UNLISTED = (
        "it gives out {example}, which no entry lists, so that its clients go to any server: give "
        "it ids that hold what it gives out, or set learn_ids = true"
    )
    ELSEWHERE = (
        "what it gives out differs from what farm.toml gives it: {example} is of {detail}, to whom "
        "its clients are sent: start all from the same farm.toml and key files, or correct ids"
    )


@attrs.frozen
class Finding:
    """A conclusion, with what it was drawn from."""

    conclusion: Conclusion
    detail: str = ""
    example: Candidate | None = attrs.field(default=None, eq=False)
    """One of many that lead to the same finding."""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return self.conclusion in (Conclusion.FINE, Conclusion.NOT_OFFERED)

    def __str__(self) -> str:
        example = self.example and f"{self.example.carrier.value} {self.example.identifier.hex()}"
        return self.conclusion.value.format(detail=self.detail, example=example)


WELL = Finding(Conclusion.FINE)

_NOT_OFFERED = ("protocol version", "unsupported protocol")
"""In OpenSSL's words, what a server says to a version that it does not offer."""


def of_health(visits: Sequence[Visit], within: float) -> tuple[ProbeEvent, Finding]:
    """Whether the server is well: it is when it answered in any version, be it by an alert."""
    if any(visit.end in (End.SHAKEN, End.FAILED) for visit in visits):
        return ProbeEvent.ANSWERED, WELL
    if any(visit.end is End.SILENT for visit in visits):
        return ProbeEvent.FAILED, Finding(Conclusion.HANGS, f"{within:g} s")
    return ProbeEvent.FAILED, Finding(Conclusion.REFUSES, visits[-1].words)


def of_certificate(visit: Visit, strict: bool) -> Finding | None:
    """Whether the certificate is the server's; None where the visit did not show it."""
    if visit.end is not End.SHAKEN or visit.resumed:
        return None
    if visit.distrust is None:
        return WELL
    return Finding(Conclusion.IMPOSTOR if strict else Conclusion.DISTRUSTED, visit.distrust)


def of_sessions(
    visit: Visit, owner_of: Callable[[bytes], str | None], is_home: Callable[[str], bool]
) -> Finding | None:
    """Whether clients come back, by the last visit, which offered a session if there was one.

    `owner_of` says to whom the balancer sends an identifier, `is_home` whether that is the server.
    None where the server did not answer.
    """
    if visit.end is End.FAILED:
        offered = not any(words in visit.words for words in _NOT_OFFERED)
        conclusion = Conclusion.NO_HANDSHAKE if offered else Conclusion.NOT_OFFERED
        return Finding(conclusion, visit.words)
    if visit.end is not End.SHAKEN:
        return None
    if not visit.resumed or visit.brings is None:
        return Finding(Conclusion.NOT_RESUMED)
    owner = owner_of(visit.brings.identifier)
    if owner is None:
        return Finding(Conclusion.UNLISTED, example=visit.brings)
    if not is_home(owner):
        return Finding(Conclusion.ELSEWHERE, owner, visit.brings)
    return WELL
