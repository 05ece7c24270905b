"""The fields of a TLS message, every length of which is checked against what is there."""

from __future__ import annotations


class Malformed(Exception):
    """The bytes break the format; the text says where."""


class Fields:
    """Walks over the fields of `data`.  Raises Malformed where a length does not fit."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def number(self, size: int, what: str) -> int:
        """A number of `size` bytes."""
        return int.from_bytes(self.take(size, what), "big")

    def take(self, length: int, what: str) -> bytes:
        """A field of `length` bytes."""
        start = self.at
        self.at = start + length
        if self.at > self.end:
            raise Malformed(f"{what} is cut off")
        return self.data[start : self.at]

    def vector(self, size: int, what: str) -> bytes:
        """A field behind its length, which takes `size` bytes."""
        return self.take(self.number(size, what), what)

    def finish(self, what: str) -> None:
        """There must be nothing more."""
        if self.at != self.end:
            raise Malformed(f"{what} has {self.end - self.at} bytes too many")
