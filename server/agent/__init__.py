"""A server's configuration module (patent, p. 8): it takes its record and says what it needs."""
