"""twistd's homing-farm, homing-balancer and homing-server."""

from twisted.application.service import ServiceMaker

_AT = "homing.farm.processes"

farm = ServiceMaker("Homing farm", f"{_AT}.farm", "A farm on this machine.", "homing-farm")
balancer = ServiceMaker("Homing balancer", f"{_AT}.balancer", "A TLS balancer.", "homing-balancer")
server = ServiceMaker("Homing server", f"{_AT}.server", "A TLS server of a farm.", "homing-server")
