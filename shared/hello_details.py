"""What people want to know of a ClientHello; routing does not need it, so it is read on demand.

Every function raises `Malformed` where the extension breaks its format.
"""

from __future__ import annotations

from homing.shared.client_hello import ClientHello
from homing.shared.fields import Fields, Malformed

_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43


def server_name(hello: ClientHello) -> str | None:
    """The host name in server_name (RFC 6066, 3); bytes that are not ASCII are shown escaped."""
    names = _list_in(hello, _SERVER_NAME, 2, "the server names")
    if names is None:
        return None
    listed = Fields(names)
    if listed.number(1, "a server name") != 0:
        raise Malformed("a server name that is not a host name")
    name = listed.vector(2, "a server name")
    listed.finish("server_name")
    if not name:
        raise Malformed("an empty server name")
    return name.decode("ascii", "backslashreplace")


def alpn(hello: ClientHello) -> tuple[bytes, ...]:
    """The protocols of ALPN (RFC 7301, 3.1)."""
    protocols = _list_in(hello, _ALPN, 2, "the ALPN protocols")
    if protocols is None:
        return ()
    listed = Fields(protocols)
    names = []
    while listed.at < listed.end:
        names.append(listed.vector(1, "an ALPN protocol"))
    if not names or not all(names):
        raise Malformed("an empty ALPN protocol")
    return tuple(names)


def versions(hello: ClientHello) -> tuple[int, ...]:
    """The versions offered (RFC 8446, 4.2.1), as on the wire: 0x0304 is TLS 1.3."""
    listed = _list_in(hello, _SUPPORTED_VERSIONS, 1, "the supported versions")
    if listed is None:
        return (hello.legacy_version,)
    if len(listed) < 2 or len(listed) % 2:
        raise Malformed(f"supported versions of {len(listed)} bytes")
    return tuple(listed[i] << 8 | listed[i + 1] for i in range(0, len(listed), 2))


def _list_in(hello: ClientHello, wanted: int, size: int, what: str) -> bytes | None:
    """The list in an extension, behind its length of `size` bytes; None without extension."""
    content = _extension(hello, wanted)
    if content is None:
        return None
    fields = Fields(content)
    listed = fields.vector(size, what)
    fields.finish(f"extension {wanted}")
    return listed


def _extension(hello: ClientHello, wanted: int) -> bytes | None:
    """The content of an extension, None where there is none."""
    fields = Fields(hello.extensions)
    found = None
    while fields.at < fields.end:
        kind, content = fields.number(2, "an extension"), fields.vector(2, "an extension")
        if kind == wanted:
            if found is not None:
                raise Malformed(f"extension {kind} comes twice")
            found = content
    return found
