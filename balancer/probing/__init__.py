"""Probes: the balancer as a TLS client looks whether relayed servers are well, and who they are."""
