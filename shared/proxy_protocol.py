"""PROXY protocol: tells a server, or an application behind one, who its client is.

The format is HAProxy's, doc/proxy-protocol.txt.  `header` writes version 2.  `HeaderReader` reads
both versions and checks what Twisted's parsers do not: addresses, ports and families.
"""

from __future__ import annotations

import struct

import attrs

from homing.shared.addresses import IPAddress, ip_address

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_VERSION_1 = b"PROXY "
_LOCAL_COMMAND, _PROXY_COMMAND = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_HOST_LENGTHS = {_TCP4: 4, _TCP6: 16}
_NO_IP_ADDRESSES = (0x00, 0x12, 0x22, 0x31, 0x32)
"""Families without the address of a TCP client: unspecified, UDP, UNIX sockets."""

_START = 16
"""Bytes before the addresses of a version 2 header; the last two are their length."""
_LONGEST_LINE = 107
LONGEST = 4096
"""Bytes of the longest header that is read, extensions (TLVs) included."""


class InvalidHeader(ValueError):
    """What a connection begins with is no PROXY header; the text says why."""


@attrs.frozen
class Proxied:
    """What a header says about the connection to the proxy."""

    source: tuple[IPAddress, int] | None
    """The client's address and port; None where the proxy names none."""
    destination: tuple[IPAddress, int] | None


def header(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The header for a connection between two IP addresses and ports of one family.

    Raises ValueError when a host is no address, or when their families differ.
    """
    from_host, to_host = (ip_address(host) for host, _ in (source, destination))
    if from_host.version != to_host.version:
        raise ValueError(f"{from_host} and {to_host} are of two families")
    addresses = from_host.packed + to_host.packed + struct.pack("!HH", source[1], destination[1])
    family = _TCP4 if from_host.version == 4 else _TCP6
    return _SIGNATURE + struct.pack("!BBH", _PROXY_COMMAND, family, len(addresses)) + addresses


def local_header() -> bytes:
    """The header of a connection of the proxy itself, or of a client without an IP address."""
    return _SIGNATURE + struct.pack("!BBH", _LOCAL_COMMAND, 0, 0)


class HeaderReader:
    """Reads the header, version 1 or 2, that a connection must begin with."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[Proxied, bytes] | None:
        """Take the next bytes; returns the header and what follows it when it is complete.

        Raises InvalidHeader.
        """
        self._data += data
        length = _length(self._data)
        if length is None or len(self._data) < length:
            return None
        whole, more = self._data[:length], self._data[length:]
        read = _version_1 if whole.startswith(_VERSION_1) else _version_2
        return read(whole), more


def _length(data: bytes) -> int | None:
    """The length of the header that `data` begins with; None while it cannot be known."""
    if data[: len(_VERSION_1)] == _VERSION_1[: len(data)]:
        end = data.find(b"\r\n", 0, _LONGEST_LINE)
        if end < 0 and len(data) >= _LONGEST_LINE:
            raise InvalidHeader("a line that does not end")
        return end + 2 if end >= 0 else None
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        raise InvalidHeader("no PROXY header")
    if len(data) < _START:
        return None
    length = _START + int.from_bytes(data[_START - 2 : _START], "big")
    if length > LONGEST:
        raise InvalidHeader(f"longer than {LONGEST} bytes")
    return length


def _version_1(line: bytes) -> Proxied:
    _, family, *rest = line.removesuffix(b"\r\n").split(b" ")
    if family == b"UNKNOWN":
        return Proxied(None, None)
    version = {b"TCP4": 4, b"TCP6": 6}.get(family)
    if version is None or len(rest) != 4:
        raise InvalidHeader("an unknown family, or parts that are missing")
    from_host, to_host = (_written_host(text, version) for text in rest[:2])
    from_port, to_port = (_written_port(text) for text in rest[2:])
    return _proxied((from_host, from_port), (to_host, to_port))


def _proxied(source: tuple[IPAddress, int], destination: tuple[IPAddress, int]) -> Proxied:
    """Raises InvalidHeader when nobody can have come from `source`."""
    if source[0].is_unspecified or not source[1]:
        raise InvalidHeader("an address that no client has")
    return Proxied(source, destination)


def _written_host(text: bytes, version: int) -> IPAddress:
    try:
        host = text.decode("ascii")
        if version == (6 if ":" in host else 4) and "%" not in host:
            return ip_address(host)
    except ValueError:
        pass
    raise InvalidHeader("an address that is none")


def _written_port(text: bytes) -> int:
    if not (text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise InvalidHeader("a port that is none")
    return int(text)


def _version_2(data: bytes) -> Proxied:
    command, family = data[len(_SIGNATURE)], data[len(_SIGNATURE) + 1]
    if command not in (_LOCAL_COMMAND, _PROXY_COMMAND):
        raise InvalidHeader("an unknown version or command")
    if command == _LOCAL_COMMAND or family in _NO_IP_ADDRESSES:
        return Proxied(None, None)
    size = _HOST_LENGTHS.get(family)
    if size is None:
        raise InvalidHeader("an unknown family")
    hosts, ports = data[_START : _START + 2 * size], data[_START + 2 * size :][:4]
    if len(ports) < 4:
        raise InvalidHeader("addresses that are cut off")
    from_port, to_port = struct.unpack("!HH", ports)
    from_host, to_host = (ip_address(host) for host in (hosts[:size], hosts[size:]))
    return _proxied((from_host, from_port), (to_host, to_port))
