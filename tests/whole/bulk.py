"""Bytes that show what was lost or repeated on their way, a server of them, and their clients."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from zope.interface import implementer

from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port

APP = f"{__name__}:factory"
"""The server, as `app` of farm.toml; processes find it in the folder `ROOT`."""
ROOT = Path(__file__).parents[2]

PIECE = 16_384
_FILLER = hashlib.shake_128(b"filler").digest(PIECE - 32)


def pieces(name: str, size: int) -> Iterator[bytes]:
    """A stream of `size` bytes: each piece begins with its number, told by a hash.

    So whatever is lost or repeated shows, at the latest where the next piece should begin.
    """
    for number in range(-(-size // PIECE)):
        piece = hashlib.sha256(f"{name} {number}".encode()).digest() + _FILLER
        yield piece[: size - number * PIECE]


def stream(name: str, size: int) -> bytes:
    """All of it."""
    return b"".join(pieces(name, size))


@implementer(IPullProducer)
class Bulk(LineOnlyReceiver):
    """Who sends a name and a size gets this process's number, and that stream; then it ends."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        name, size = line.decode().split()
        self._left = pieces(name, int(size))
        self.sendLine(str(os.getpid()).encode())
        self.transport.registerProducer(self, False)  # type: ignore[union-attr]

    def resumeProducing(self) -> None:
        piece = next(self._left, b"")
        if piece:
            self.transport.write(piece)  # type: ignore[union-attr]
        else:
            self.transport.unregisterProducer()  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        self._left = iter(())


def factory() -> Factory:
    """What `APP` names."""
    return Factory.forProtocol(Bulk)


@attrs.define
class Download:
    """A client in the middle of a download, who reads on when it is told to."""

    connection: ssl.SSLSocket
    name: str
    size: int
    server: int
    """The number of the process that serves it."""

    @classmethod
    def begin(cls, listen: str, clients: ssl.SSLContext, name: str, size: int) -> Download:
        """Ask, and hear who answers; little of the rest can be on its way."""
        plain = socket.socket()
        plain.settimeout(40)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        plain.connect(split_host_and_port(listen))
        connection = clients.wrap_socket(plain, server_hostname="localhost")
        connection.sendall(f"{name} {size}\n".encode())
        said = b""
        while not said.endswith(b"\n"):
            byte = connection.recv(1)
            assert byte, "nobody answers"
            said += byte
        return cls(connection, name, size, int(said))

    def finish(self) -> bool:
        """Read up to the end; whether everything came.  Fails when a wrong byte did."""
        right = 0
        with self.connection, suppress(ConnectionError, ssl.SSLError):
            for piece in pieces(self.name, self.size):
                came = self._read(len(piece))
                assert came == piece[: len(came)], f"{self.name}: wrong near byte {right}"
                right += len(came)
                if len(came) < len(piece):
                    return False
            assert self.connection.recv(1) == b"", f"{self.name}: more than there is"
        return right == self.size

    def _read(self, count: int) -> bytes:
        data = bytearray()
        with suppress(ConnectionError, ssl.SSLError):
            while len(data) < count and (more := self.connection.recv(count - len(data))):
                data += more
        return bytes(data)

    def is_carried_by(self, pid: int) -> bool:
        """Whether that process has the other end of this connection open."""
        inode = _inode_of_other_end(self.connection)
        return any(_link(one) == f"socket:[{inode}]" for one in Path(f"/proc/{pid}/fd").iterdir())


def _link(path: Path) -> str:
    with suppress(FileNotFoundError):
        return str(path.readlink())
    return ""


def _inode_of_other_end(connection: socket.socket) -> str:
    port, listening = connection.getsockname()[1], connection.getpeername()[1]
    ends = f":{listening:04X}", f":{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        row = line.split()
        if row[1].endswith(ends[0]) and row[2].endswith(ends[1]):
            return row[9]
    raise AssertionError("the connection is over")


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def balancers(farm: LocalFarm) -> list[int]:
    """The processes that accept its connections."""
    facts = farm.facts()
    return [int(pid) for pid in facts.get("balancer_pids", [facts["balancer_pid"]])]
