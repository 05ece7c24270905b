"""How a balancer runs; farm.toml's [balancer] has the defaults."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class BalancerOptions:
    """How a balancer runs."""

    listen: Sequence[str]
    """Twisted endpoint strings."""
    policy: str
    ignore_ids: bool
    close_not_tls: bool
    hello_timeout: float
    """Seconds that a connection may wait, for its ClientHello and for a server together."""
    hello_ceiling: int
    """Bytes of the longest hello."""
    max_waiting: int
    """Connections that may wait, for whatever it is."""
    max_connections: int
    """Connections that servers may have open before new ones are closed; 0: any number."""
    max_source_rate: float
    """New connections a second from one source above which more are closed; 0: any number."""
    log_decisions: bool
    source_rate: float
    """Connections a second from one source that may follow their identifier; 0: any number."""
    server_excess: float
    """How many times the mean of all servers identifiers may send to one; 0: any number."""
