"""What runs inside TLS."""
