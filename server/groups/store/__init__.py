"""Stores in which the servers of a group share TLS sessions; they never block the reactor."""

from homing.server.groups.store.base import SessionStore
from homing.server.groups.store.sealing import Sealed
from homing.server.groups.store.urls import open_store, resolved

__all__ = ["Sealed", "SessionStore", "open_store", "resolved"]
