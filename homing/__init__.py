"""Homing: a TLS server farm whose sessions find their way home."""
