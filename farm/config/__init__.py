"""farm.toml: its sections and values, how it is read and checked, and its keys on disk."""
