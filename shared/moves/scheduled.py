"""``scheduled``: a part moves at a given time (patent, p. 9).

Until then its owner gives the clients whose identifiers are of it others: a fresh ticket on open
TLS 1.3 connections, a full handshake at the next visit with a TLS 1.2 session ID that would live
longer, or a renegotiation.  Who did not come in time begins a new session at the next owner.
"""

from __future__ import annotations

from homing.shared.moves.base import ENDS, HELD, RELEASED, PartEvent, PartStep, machine

SCHEDULED = machine(
    HELD=HELD,
    LEAVING=ENDS | {PartEvent.STOPPED: PartStep.STOPPED},
    STOPPED=ENDS | {PartEvent.OVER: PartStep.RELEASED},
    LISTED=ENDS,
    RELEASED=RELEASED,
)
