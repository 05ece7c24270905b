"""The applications that a server runs inside TLS."""
