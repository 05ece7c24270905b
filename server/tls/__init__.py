"""A server's TLS connections: how they arrive, how long they may take, what is logged."""
