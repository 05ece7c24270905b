"""The demo application: a page for people and ``/session``, JSON about the TLS session."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from homing.server.apps.page import MEMORY, page
from homing.server.tls.connection_log import shown
from homing.server.tls.transport import SessionTLSTransport

_COOKIE = re.compile(rb"(\d{1,5})-(\d{1,15})")
_AT_ONCE = 150
"""Milliseconds within which a browser makes a spare connection beside its first."""


def site(server: str) -> Site:
    """The demo application of the server called `server`."""
    root = Resource()
    root.putChild(b"", _Page(server))
    root.putChild(b"session", _Session(server))
    return _Site(root)


class _Site(Site):
    noisy = False

    def log(self, request: object) -> None:
        """Logs nothing: the server logs connections, not requests."""


class _Leaf(Resource):
    isLeaf = True

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server


class _Session(_Leaf):
    def render_GET(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "application/json")
        return json.dumps(facts(self._server, request)).encode() + b"\n"


class _Page(_Leaf):
    def render_GET(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        request.setHeader("Cache-Control", "no-store")
        # A reload must come over a new connection, not over this one again
        request.setHeader("Connection", "close")
        request.channel.persistent = False
        cookie = _cookie(request)
        visits, last = _visits(request.getCookie(cookie))
        began = round(1000 * _connection(request).began)
        value = b"%d-%d" % (visits + 1, began)
        request.addCookie(
            cookie, value, max_age=str(MEMORY), secure=True, httpOnly=True, sameSite="lax"
        )
        agent = (request.getHeader("user-agent") or "").lower()
        spare = began < last + _AT_ONCE
        return page(facts(self._server, request), visits + 1, agent, spare).encode()


def _cookie(request: Request) -> bytes:
    """The cookie's name; it has the port, since browsers share a host's cookies between ports."""
    return b"homing-visits-%d" % request.getHost().port


def _visits(cookie: bytes | None) -> tuple[int, int]:
    """How often this browser says it was here, and when its last connection began.

    The time is in milliseconds since 1970; both are 0 without a valid cookie.
    """
    found = _COOKIE.fullmatch(cookie or b"")
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _connection(request: Request) -> SessionTLSTransport:
    transport = request.channel.transport
    assert isinstance(transport, SessionTLSTransport)
    return transport


def facts(server: str, request: Request) -> dict[str, Any]:
    """What ``/session`` tells about the connection that `request` came over."""
    session = _connection(request).session()
    found_by = session.found_by
    return {
        "server": server,
        "protocol": session.protocol,
        "resumed": session.resumed,
        "carrier": found_by.carrier.value if found_by else None,
        "identifier": found_by.brought.hex() if found_by else None,
        "issued": [identifier.hex() for identifier in session.issued],
        "client": shown(request.getClientAddress()),
    }
