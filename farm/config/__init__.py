"""farm.toml: what it may say, and what it comes to."""
