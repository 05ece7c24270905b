"""Server 102: a Twisted TLS server that gives out only the session IDs of its record 132."""
