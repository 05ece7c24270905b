"""Ways to bring a connection to its server: hand-off and relay."""
