"""Homing: a TLS server farm whose sessions find their way home."""

__version__ = "0.1.0"
