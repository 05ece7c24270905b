"""Servers that share sessions (patent, p. 7)."""
