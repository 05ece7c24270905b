"""Groups: servers that share sessions (patent, p. 7)."""
