"""What is wrong with a farm.toml, one message a fault: where, what, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import HomingError


class InvalidConfig(HomingError):
    """A farm.toml that cannot be used; `messages` has one line a fault."""

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        self.messages = tuple(f"{path}: {fault}" for fault in faults)
        super().__init__("\n".join(self.messages))
