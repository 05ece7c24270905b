"""Clients that come, and come back with what they got."""
