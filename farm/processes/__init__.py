"""The processes of a farm."""
