"""The options of the twistd plugins."""

from __future__ import annotations

from twisted.python.usage import Options

from homing.farm.config.sections import RESUMPTION
from homing.shared.schemes import SCHEMES

_LOG_JSON = [
    "log-json",
    None,
    None,
    "Add the log to this file, too: one JSON object a line, for machines.",
]


class BalancerOptions(Options):
    """twistd homing-balancer."""

    optParameters = [["config", "c", None, "The farm.toml to run the balancer of."], _LOG_JSON]
    optFlags = [["supervised", None, "Run as a child of homing-farm."]]
    longdesc = "One balancer.  Example:  twistd -n homing-balancer --config farm.toml"


class ServerOptions(Options):
    """twistd homing-server."""

    optParameters = [
        ["config", "c", None, "The farm.toml of the farm."],
        ["name", "s", None, "Which [[server]] of it to run."],
        [
            "app",
            "a",
            None,
            "What to serve: module:factory, a Twisted protocol factory or something callable that "
            "returns one; tcp:HOST:PORT, a plain upstream; or tcp+proxy:HOST:PORT, one told "
            "the client's address, by PROXY protocol v2. [default: the demo application]",
        ],
        _LOG_JSON,
    ]
    optFlags = [["supervised", None, "Run as a child of homing-farm."]]
    longdesc = "One server.  Example:  twistd -n homing-server --config farm.toml --name s1"


class FarmOptions(Options):
    """twistd homing-farm."""

    optParameters = [
        ["servers", "n", None, "How many servers to run. [default: 4]"],
        [
            "listen",
            "l",
            None,
            "Where the balancer listens, a Twisted endpoint. "
            "[default: tcp:8443:interface=127.0.0.1]",
        ],
        [
            "state-dir",
            "d",
            None,
            "Folder for certificates, sockets and farm.json. [default: ./homing-state]",
        ],
        ["scheme", None, None, f"How IDs are assigned: {', '.join(SCHEMES)}. [default: range]"],
        [
            "resumption",
            None,
            None,
            f"What clients get to come back with: {', '.join(RESUMPTION)}. [default: both]",
        ],
        [
            "config",
            "c",
            None,
            "Run every managed server of this farm.toml, instead of demo servers.",
        ],
        ["app", "a", None, "What the servers serve; see homing-server. [default: the demo]"],
        _LOG_JSON,
    ]
    optFlags = [
        ["relay", "r", "Servers listen on loopback TCP and the balancer relays to them."],
    ]
    longdesc = (
        "A whole farm on this machine.  Examples:  twistd -n homing-farm   "
        "twistd -n homing-farm --servers 8 --listen tcp:443   "
        "twistd -n homing-farm --config farm.toml"
    )
