"""Stores in which the servers of a group share TLS sessions, without ever blocking the reactor."""

from server.store.base import SessionStore
from server.store.sealing import Sealed
from server.store.urls import open_store, resolved

__all__ = ["Sealed", "SessionStore", "open_store", "resolved"]
