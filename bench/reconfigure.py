"""What returning clients notice of a farm that is reconfigured under load: nothing.

    python bench/reconfigure.py [--quick] [--json FILE] [--svg FILE] [SETTING ...]

Four servers; clients with TLS 1.2 and 1.3, session IDs and tickets, come back all the time.  A
fifth server joins, one is drained and removed, shares change, each way of moving is used, and
balancers are killed in the middle of it.  Prints a timeline and, for every visit that could have
resumed and did not, all that is known of it.  The target is none.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import react

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.reconfiguring.clients import Outcome, Visited
from bench.reconfiguring.farm import Setting, reconfigurable
from bench.reconfiguring.picture import picture
from bench.reconfiguring.story import Step, Story, Told
from tests.etcd_process import ETCD

SETTINGS = {
    str(one): one
    for one in (
        Setting("sqlite", "range", "both"),
        Setting("sqlite", "list", "ids"),
        Setting("etcd", "range", "tickets"),
        Setting("etcd", "list", "both"),
    )
}
LIFETIME, QUICK_LIFETIME = 20, 10
"""Seconds that sessions live."""


def report(step: Step, told: Told) -> None:
    """One line of the timeline."""
    visits = told.within(step.began, step.ended)
    took = step.ended - step.began
    print(f"{step.began:>7.1f} s {step.what:<44}{took:>6.1f} s  {counted(visits)}", flush=True)


def counted(visits: list[Visited]) -> str:
    """How many could resume, and did, and what the others were."""
    counts = Counter(one.outcome for one in visits)
    resumed, lost = counts[Outcome.RESUMED], counts[Outcome.LOST]
    others = [
        f"{counts[one]} {one}"
        for one in (Outcome.NEW, Outcome.EXPIRED, Outcome.PLANNED, Outcome.LATE)
        if counts[one]
    ]
    share = f" ({100 * resumed / (resumed + lost):.2f} %)" if resumed + lost else ""
    return ", ".join([f"{resumed} of {resumed + lost} resumed{share}", *others])


async def tell(reactor: Any, setting: Setting, lifetime: int, quick: bool) -> Told:
    """Run one setting, and print what comes of it."""
    print(f"\n{setting.words}; sessions live for {lifetime} s")
    with tempfile.TemporaryDirectory(prefix="homing-") as folder:
        with reconfigurable(Path(folder), setting, lifetime) as farm:
            told = await Story(reactor, farm, setting, lifetime, report).tell(quick)
        if not told.is_good:
            kept = Path(tempfile.mkstemp(prefix=f"homing-{setting}-", suffix=".log")[1])
            kept.write_text(farm.log)
            print(f"  the farm's log is kept: {kept}")
    show(told)
    return told


def show(told: Told) -> None:
    """What came of it all."""
    for kind in sorted({one.kind for one in told.visits}):
        print(f"  {kind:<36}{counted([one for one in told.visits if one.kind == kind])}")
    print(f"  {'all':<36}{counted(told.visits)}")
    print(f"  connections broken off when a balancer was killed, tried again: {told.broken_off}")
    print(f"  the manager's balancer, idle: {100 * told.idle_cpu:.2f} % of a core")
    for failure in told.failures:
        print(f"  FAILED: {failure}")
    for one in told.visits:
        if one.outcome is Outcome.LOST:
            print(f"  LOST at {one.at:.2f} s: {one.kind}\n      {one.known}")


def plain(told: Told) -> dict[str, Any]:
    """Results for programs."""
    return {
        "setting": attrs.asdict(told.setting),
        "lifetime": told.lifetime,
        "idle_cpu": told.idle_cpu,
        "failures": told.failures,
        "broken_off": told.broken_off,
        "outcomes": {str(one): told.count(one) for one in Outcome},
        "steps": [attrs.asdict(one) for one in told.steps],
        "lost": [attrs.asdict(one) for one in told.visits if one.outcome is Outcome.LOST],
    }


async def run(reactor: Any, options: argparse.Namespace) -> None:
    """Run what was asked for, one after the other."""
    lifetime = QUICK_LIFETIME if options.quick else LIFETIME
    told = [
        await tell(reactor, SETTINGS[name], lifetime, options.quick) for name in options.settings
    ]
    if options.json:
        data = {"python": platform.python_version(), "machine": platform.machine()}
        results = [plain(one) for one in told]
        options.json.write_text(json.dumps({**data, "results": results}, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(picture(told))
    if not all(one.is_good for one in told):
        sys.exit(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A farm that is reconfigured under load.")
    parser.add_argument(
        "settings", nargs="*", metavar="SETTING", help=f"{', '.join(SETTINGS)} [all]"
    )
    parser.add_argument("--quick", action="store_true", help="one setting, about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them here")
    options = parser.parse_args()
    if unknown := set(options.settings) - SETTINGS.keys():
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
    if not options.settings:
        usable = [name for name, one in SETTINGS.items() if ETCD or one.registry != "etcd"]
        options.settings = [str(Setting("sqlite", "list", "ids"))] if options.quick else usable
    react(run, [options])


if __name__ == "__main__":
    main()
