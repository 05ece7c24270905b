"""twistd's homing-farm, homing-balancer and homing-server."""

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import IPlugin
from twisted.python.reflect import namedAny
from twisted.python.usage import Options
from zope.interface import implementer


@implementer(IPlugin, IServiceMaker)
class _Maker:
    """A command of twistd whose code is loaded only when it is called."""

    def __init__(self, tapname: str, description: str, options: str, make: str) -> None:
        self.tapname = tapname
        self.description = description
        self._options = options
        self._make = make

    def options(self) -> Options:
        namedAny("homing.farm.processes.reload.hold_hangups")()
        options: Options = namedAny(f"homing.farm.processes.options.{self._options}")()
        return options

    def makeService(self, options: Options) -> IService:
        service: IService = namedAny(f"homing.farm.processes.tap.{self._make}")(options)
        return service


farm = _Maker("homing-farm", "A farm on this machine.", "FarmOptions", "make_farm")
balancer = _Maker("homing-balancer", "A TLS balancer.", "BalancerOptions", "make_balancer")
server = _Maker("homing-server", "A TLS server of a farm.", "ServerOptions", "make_server")
