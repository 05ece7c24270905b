"""Balancer 104: reads ClientHellos, looks identifiers up in table 130, routes connections.

It never holds a TLS key and keeps nothing per session.
"""
