"""What Homing's servers cost beside nginx and Twisted's own TLS, and a farm beside HAProxy's.

    python bench/server.py [--quick] [--only PART] [--json FILE] [--svg FILE]

All serve the same clients, in turn, with one certificate (ECDSA, P-256) and one answer.  A ratio
below 1 says that ours costs less.  It needs nginx and, for whole farms, haproxy.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measuring.figures import Figure, show, write_json
from bench.measuring.picture import bars
from bench.measuring.rounds import progress_bar
from bench.measuring.versions import heading, program
from bench.tls_servers import full_cache, one_server, whole_farm
from bench.tls_servers.contest import Progress, Size
from bench.tls_servers.running import CannotRun, Certificate
from homing.certs.demo import demo_certificates

_ROOT = Path(__file__).resolve().parent.parent
_TITLE = "TLS servers and farms: CPU by that of their peers"
_EXAMPLE = "example: python bench/server.py --quick --only servers --only farm --json figures.json"


@attrs.frozen
class Part:
    """What can be measured by itself."""

    size: Size
    quick: Size
    steps: Callable[[Size], int]
    measure: Callable[[Path, Certificate, Size, Progress], list[Figure]]
    needs: tuple[str, ...] = ()
    """Programs of others."""


PARTS = {
    "servers": Part(Size(7, 1000), Size(3, 120), one_server.steps, one_server.measure, ("nginx",)),
    "cache": Part(
        Size(9, 400),
        Size(3, 200),
        full_cache.steps,
        lambda folder, certificate, size, progress: full_cache.measure(size, progress),
    ),
    "farm": Part(
        Size(7, 2000), Size(3, 300), whole_farm.steps, whole_farm.measure, ("nginx", "haproxy")
    ),
}


def measure(names: list[str], quick: bool) -> list[Figure]:
    """The figures of these parts, those with an aim first.  Raises CannotRun and NotResumed."""
    sizes = {name: PARTS[name].quick if quick else PARTS[name].size for name in names}
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(prefix="homing-") as folder,
        progress_bar(sum(PARTS[name].steps(size) for name, size in sizes.items())) as progress,
    ):
        demo = demo_certificates(Path(folder) / "certificates")
        certificate = Certificate(demo.certificate, demo.key)
        for name, size in sizes.items():
            (Path(folder) / name).mkdir()
            figures += PARTS[name].measure(Path(folder) / name, certificate, size, progress)
    return sorted(figures, key=lambda one: one.asked is None)


def main() -> None:
    """Measure, print, and perhaps write the figures down."""
    parser = argparse.ArgumentParser(
        description="What servers and farms cost beside nginx and HAProxy.", epilog=_EXAMPLE
    )
    parser.add_argument("--quick", action="store_true", help="under a minute, three rounds")
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help=f"{', '.join(PARTS)} [all]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw those with an aim here")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(_ROOT)  # the servers import their application from here
    names = options.only or list(PARTS)
    for needed in (needed for name in names for needed in PARTS[name].needs):
        program(needed)
    try:
        figures = measure(names, options.quick)
    except (CannotRun, one_server.NotResumed) as error:
        sys.exit(f"{parser.prog}: {error}")
    show(figures, f"{_TITLE}\n{heading()}")
    if options.json:
        write_json(figures, options.json)
    if options.svg:
        drawn = [one for one in figures if one.asked is not None]
        options.svg.write_text(bars(drawn, _TITLE, heading()))


if __name__ == "__main__":
    main()
