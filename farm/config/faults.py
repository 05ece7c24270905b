"""Errors in a farm.toml: a message for each says where, what, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from homing.shared.errors import HomingError


class CannotStart(HomingError):
    """The request is valid, but cannot be carried out now: exit status 1, not 2."""


class InvalidConfig(HomingError):
    """A farm.toml that cannot be used; `messages` has one line a fault."""

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        self.messages = tuple(f"{path}: {printable(fault)}" for fault in faults)
        super().__init__("\n".join(self.messages))


def printable(text: str) -> str:
    """`text` with line breaks and whatever else would speak to a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
