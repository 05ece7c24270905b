"""Who may import whom: the rooms of the house, and what stays pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "homing"

ALLOWED = {
    "shared": {"shared"},
    "server": {"server", "shared"},
    "balancer": {"balancer", "shared"},
    "certs": {"certs"},
    "farm": {"farm", "server", "balancer", "shared", "certs"},
}
OURS = ALLOWED.keys() | {"tests", "bench"}

_AGENT = "applying drawing duties given_up owned parting telling"
_CONFIG = "changes contradictions converter faults registry_url sections"

PURE = {
    "shared": tuple(
        f"registry/{name}" for name in ("interface", "memory", "etcd/messages", "etcd/url")
    ),
    "balancer": tuple(
        "table divided entries follower own_sets saved_form routing policies limits overload "
        "learned time_slice waiting options data_planes/flow_state data_planes/link_state "
        "data_planes/overdue data_planes/probe_state "
        "probing/conclusions".split()
    )
    + tuple(
        f"management/{name}" for name in "absences allocation claims manager membership".split()
    ),
    "server": (
        *(f"agent/{name}" for name in _AGENT.split()),
        "groups/store/circuit_breaker",
        "identifiers/given_out",
        "identifiers/journal",
        "identifiers/leaving",
        "identifiers/reuse_guard",
        "identifiers/session_cache",
        "identifiers/ticket_secrets",
        "tls/common_deadline",
        "tls/deadlines",
        "tls/session",
    ),
    "farm": (
        *(f"config/{name}" for name in _CONFIG.split()),
        *(f"status/{name}" for name in "division moves parts reading times values".split()),
        "commands/operating/patience",
        "orders",
        "progress",
        "wishes",
    ),
}
"""The pure files of the rooms.  In shared/ only files of the registry may be others."""

IMPURE = {"twisted", "OpenSSL", "cryptography", "socket"}


def imported(source: str, room: str) -> Iterator[str]:
    """What `source`, a file of `room`, imports, wherever in it: our rooms and others' packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (_room_or_package(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "homing":
                yield from (alias.name for alias in node.names)
            else:
                yield room if node.level or not node.module else _room_or_package(node.module)


def _room_or_package(module: str) -> str:
    first, *rest = module.split(".")
    return rest[0] if first == "homing" and rest else first


def is_pure(path: Path) -> bool:
    """Whether the file may import neither I/O nor OpenSSL; `path` starts at the root."""
    room, *inside = path.with_suffix("").parts
    if room == "shared" and inside[0] != "registry":
        return True
    return "/".join(inside) in PURE.get(room, ())


def breaches(root: Path) -> list[str]:
    """Every import that the rules forbid, as file: package."""
    found = []
    for room, allowed in ALLOWED.items():
        for file in sorted((root / room).rglob("*.py")):
            path = file.relative_to(root)
            forbidden = (OURS - allowed) | (IMPURE if is_pure(path) else set())
            names = set(imported(file.read_text("utf-8"), room))
            found += [f"{path}: {name}" for name in sorted(names & forbidden)]
    return found


def inside_openssl(source: str) -> Iterator[str]:
    """What `source` uses of pyOpenSSL's inside: the C functions, and the objects of C."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name in {"OpenSSL._util", "cffi"})
            case ast.ImportFrom(module="OpenSSL._util" | "cffi"):
                yield str(node.module)
            case ast.ImportFrom(module="OpenSSL", names=names):
                yield from (one.name for one in names if one.name == "_util")
            case ast.Attribute(attr="_ssl" | "_context" | "_session" | "_reverse_mapping"):
                yield node.attr


def test_only_one_room_reaches_inside_openssl() -> None:
    """Tests may."""
    wall = ROOT / "server" / "openssl"
    for file in (file for room in ALLOWED for file in (ROOT / room).rglob("*.py")):
        assert file.is_relative_to(wall) or not list(inside_openssl(file.read_text("utf-8"))), file


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("from OpenSSL._util import lib", "OpenSSL._util"),
        ("import OpenSSL._util", "OpenSSL._util"),
        ("from OpenSSL import SSL, _util", "_util"),
        ("def f(): from cffi import FFI", "cffi"),
        ("g(connection._ssl)", "_ssl"),
        ("context._context.x = 1", "_context"),
    ],
)
def test_a_hole_in_the_wall_is_seen(source: str, used: str) -> None:
    assert list(inside_openssl(source)) == [used]


def test_no_room_reaches_into_another_and_pure_files_stay_pure() -> None:
    assert breaches(ROOT) == []


def test_no_file_is_so_long_that_one_scrolls_for_an_answer() -> None:
    files = [file for room in ALLOWED for file in (ROOT / room).rglob("*.py")]
    assert [file for file in files if len(file.read_text("utf-8").splitlines()) > 300] == []


def test_the_files_with_rules_exist() -> None:
    assert list((ROOT / "shared").rglob("*.py"))
    files = [ROOT / room / f"{name}.py" for room, names in PURE.items() for name in names]
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize(
    ("path", "source", "breach"),
    [
        ("shared/x.py", "import homing.server", "server"),
        ("shared/x.py", "from homing import server", "server"),
        ("shared/deep/x.py", "from balancer.table import Table", "balancer"),
        ("shared/x.py", "def f():\n    from twisted.internet import reactor", "twisted"),
        ("shared/x.py", "import os, socket", "socket"),
        ("shared/registry/memory.py", "import twisted", "twisted"),
        ("shared/registry/sqlite/x.py", "import homing.server", "server"),
        ("server/x.py", "import balancer.table as t", "balancer"),
        ("balancer/x.py", "if True:\n    from homing.server import tls", "server"),
        ("balancer/routing.py", "from OpenSSL import SSL", "OpenSSL"),
        ("server/identifiers/session_cache.py", "from OpenSSL import SSL", "OpenSSL"),
        ("certs/x.py", "from shared.errors import HomingError", "shared"),
        ("farm/x.py", "from tests import strategies", "tests"),
        ("server/x.py", "from homing.shared.record import Record\nimport homing.server.y", None),
        ("balancer/ingress.py", "import socket\nfrom homing.balancer.table import Table", None),
        ("shared/x.py", "from . import errors\nimport attrs", None),
        ("shared/registry/sqlite/x.py", "import twisted", None),
        ("farm/x.py", "from homing import server, balancer, certs, shared", None),
        ("certs/x.py", "from cryptography import x509", None),
    ],
)
def test_a_breach_is_seen_and_nothing_else(
    tmp_path: Path, path: str, source: str, breach: str | None
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert breaches(tmp_path) == ([f"{path}: {breach}"] if breach else [])
