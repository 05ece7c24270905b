"""What is wrong with a farm.toml, one message a fault: where, what, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from homing.shared.errors import HomingError


class CannotStart(HomingError):
    """Nothing is wrong with what was asked for, but it cannot be done now."""


class InvalidConfig(HomingError):
    """A farm.toml that cannot be used; `messages` has one line a fault."""

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        self.messages = tuple(f"{path}: {_on_one_line(fault)}" for fault in faults)
        super().__init__("\n".join(self.messages))


def _on_one_line(text: str) -> str:
    """`text` with line breaks and other unprintable characters, of a user's key say, escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
