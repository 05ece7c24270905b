"""The farm as the registry has it, for people and programs."""

from homing.farm.status.reading import status
from homing.farm.status.values import Status

__all__ = ["Status", "status"]
