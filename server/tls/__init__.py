"""TLS connections of a server, and how they come to it."""
