"""The steps of a move, what can happen in each, and what is common to all ways.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Way(StrEnum):
    """How a part moves that identifiers were drawn from."""

    DRAIN = "drain"
    EXCEPTIONS = "exceptions"
    SCHEDULED = "scheduled"


class PartStep(StrEnum):
    """Where a part is on its way from one owner to another."""

    HELD = "held"
    """Its owner may draw from it, once it has said so (`drawn`)."""
    LEAVING = "leaving"
    """The next owner is named, and the owner is asked to draw from it no more."""
    STOPPED = "stopped"
    """The owner draws from it no more; sessions whose identifiers are of it live there."""
    LISTED = "listed"
    """The owner draws from it no more, and has listed the identifiers that live as exceptions."""
    RELEASED = "released"
    """Nothing of it lives at its owner."""


class PartEvent(StrEnum):
    """What happens to a part."""

    ASKED = "the manager names the next owner"
    STOPPED = "the owner draws from it no more"
    LISTED = "the owner draws from it no more, and its exceptions are listed"
    TOO_MANY = "the owner draws from it no more, but more identifiers live than can be listed"
    OVER = "no session lives any more, or the time of a scheduled move has come"
    GONE = "its owner is gone, and so are its assignment and its sessions"
    GIVEN = "the manager has made the next owner its owner"
    CALLED_OFF = "the manager has called the move off"


Transitions = Mapping[PartStep, Mapping[PartEvent, PartStep]]


def machine(**answers: Mapping[PartEvent, PartStep]) -> Transitions:
    """The transitions of a way: for each step, by its name, the events that it answers.

    Any other event leaves the step as it is: one that is stale or repeated does no harm.
    """
    stays = {step: dict.fromkeys(PartEvent, step) for step in PartStep}
    return {step: stays[step] | dict(answers[step.name]) for step in PartStep}


HELD = {PartEvent.ASKED: PartStep.LEAVING, PartEvent.GIVEN: PartStep.HELD}
"""A part that was never drawn from is given at once, whatever the way."""
RELEASED = {PartEvent.GIVEN: PartStep.HELD, PartEvent.CALLED_OFF: PartStep.HELD}
ENDS = {PartEvent.GONE: PartStep.RELEASED, PartEvent.CALLED_OFF: PartStep.HELD}
"""What every step before RELEASED answers."""
