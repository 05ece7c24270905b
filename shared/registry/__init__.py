"""The registry: where the farm's state is agreed on, and nowhere else (`docs/registry.md`)."""
