"""Another user of this machine, and what that user can leave in our way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can act as another user: run the tests as root"
)

_LISTEN = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
os.umask(0)
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("listening", flush=True)
while True:
    link, _ = listening.accept()
    print("linked", flush=True)
    try:
        link.sendall(bytes.fromhex(sys.argv[2]))
        _, descriptors, *_ = socket.recv_fds(link, 1, 1)
    except OSError:
        descriptors = []
    for descriptor in descriptors:
        with socket.socket(fileno=descriptor) as client:
            print("stolen", len(client.recv(65536)), flush=True)
"""


def listener(path: Path, greeting: bytes) -> subprocess.Popen[str]:
    """A process of another user that listens at `path` and takes connections handed over."""
    # It turns into the other user by itself, who may not be able to reach this Python
    process = subprocess.Popen(
        [sys.executable, "-c", _LISTEN, str(path), greeting.hex(), str(NOBODY)],
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert process.stdout
    assert process.stdout.readline() == "listening\n"
    return process


def give_away(*paths: Path) -> None:
    """Have these belong to another user, links themselves and not what they lead to."""
    for path in paths:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
