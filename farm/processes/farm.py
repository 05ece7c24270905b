"""homing farm: a whole farm on this machine."""

from __future__ import annotations

from pathlib import Path

from twisted.application.service import IService
from twisted.logger import Logger

from homing.farm import assemble
from homing.farm.config.farm_toml import load
from homing.farm.config.sections import RESUMPTION, FarmConfig
from homing.farm.plan import plan
from homing.farm.processes import process
from homing.farm.processes.anew import begin_anew
from homing.farm.processes.balancer import DEFAULT_NAME, claimed
from homing.farm.processes.demo_farm import DEFAULTS, demo_farm
from homing.farm.processes.descriptors import enough_for, keep_to_ourselves, usable_cores
from homing.farm.processes.inherited import InheritedConfig
from homing.farm.processes.lock import Lock
from homing.farm.processes.members import Members
from homing.farm.processes.reload import Reload
from homing.farm.processes.rolling import Rolling
from homing.farm.processes.supervisor import Farm
from homing.farm.registries import open_registry, place_of
from homing.server.apps import applications
from homing.server.tls.context import usable
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES

_log = Logger()

_DEMO = {
    "servers": ("n", "How many servers to run."),
    "listen": ("l", "Where the balancer listens, a Twisted endpoint."),
    "state-dir": ("d", "Folder for certificates, sockets and farm.json."),
    "scheme": (None, f"How IDs are assigned: {', '.join(SCHEMES)}."),
    "workers": (None, "How many processes the balancer has."),
    "resumption": (None, f"What clients get to come back with: {', '.join(RESUMPTION)}."),
}


class Options(process.ProcessOptions):
    """Its command line."""

    optParameters = (
        *(
            (name, short, None, f"{words} [default: {DEFAULTS[name]}]")
            for name, (short, words) in _DEMO.items()
        ),
        ("config", "c", None, "Run every managed server of this farm.toml, not demo servers."),
        ("app", "a", None, "What the servers serve; see homing server. [default: the demo]"),
    )
    optFlags = (("relay", "r", "Servers listen on loopback TCP and the balancer relays to them."),)
    longdesc = (
        "A whole farm on this machine.  Examples:  homing farm   "
        "homing farm --servers 8 --listen tcp:443   homing farm --config farm.toml"
    )


def makeService(options: Options) -> IService:
    """The farm that `options` ask for."""
    with process.starting("a farm"):
        reactor = process.steady_reactor()
        keep_to_ourselves()
        lock, config = _locked(options)
        name_lock = claimed(config, DEFAULT_NAME)
        workers = config.workers(usable_cores())
        children = workers + len(config.managed)
        enough_for(children, f"a farm of {children} processes")
        usable(assemble.tls_options(config))  # makes those of a demo, or every server would
        for one in config.managed:
            applications.check(options["app"] or one.app)
        plan(config)
        assemble.balancer(reactor, config)  # all that is wrong with the file, said once
        handed = InheritedConfig(config)
        sockets = process.listening(config, workers)
        process.warn(config)
        if before := begin_anew(config, process.say):
            words = "the farm had the scheme {before} before: it begins with an empty registry"
            _log.warn(words, before=before)
        running = process.Process("farm", options)
        reactor.callWhenRunning(name_lock.sign)
    farm = Farm(
        reactor,
        handed,
        sockets,
        name=DEFAULT_NAME,
        lock=lock,
        app=options["app"],
        failed=process.fail_at_end,
    )
    farm.setServiceParent(running)
    Reload(reactor, handed.config, farm.renew).setServiceParent(running)
    rolling = Rolling(reactor, config.state_dir, DEFAULT_NAME, farm.workers.roll)
    rolling.setServiceParent(running)
    if place := place_of(config):
        registry = open_registry(reactor, place)
        Members(registry, lambda: farm.config, farm.run_servers).setServiceParent(running)
    return running


def _locked(options: Options) -> tuple[Lock, FarmConfig]:
    """Take the lock of the state folder, then write a demo's farm.toml; returns both.

    When another process has the lock, the folder is not touched.  Raises HomingError and OSError.
    """
    path = options["config"]
    if path is None:
        folder, write = demo_farm(options)
        lock = Lock(folder / "lock", waits=process.say)
        return lock, load(write())
    if given := [f"--{name}" for name in (*_DEMO, "relay") if options[name]]:
        raise HomingError(f"{', '.join(given)}: say this in {path} instead")
    config = load(Path(path).absolute())
    return Lock(config.state_dir / "lock", waits=process.say), config
