"""The demo application: a page for people and ``/session``, JSON about the TLS session."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from server.tls import SessionTLSProtocol
from shared.addresses import host_and_port

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Homing: {server}</title><link rel="icon" href="data:,">
<style>body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em }}
th {{ text-align: left; padding-right: 2em; vertical-align: top }}
td {{ font: 14px/1.7 monospace; overflow-wrap: anywhere }}</style>
<h1>You reached server {server}</h1>
<p>{verdict}</p>
<table>{rows}</table>
<p>Reload: your browser makes a new connection, and your session finds its way home to {server}. The
same facts as JSON are at <a href="/session">/session</a>.</p></html>
"""


def site(server: str) -> Site:
    """The demo application of the server called `server`."""
    root = Resource()
    root.putChild(b"", _Page(server))
    root.putChild(b"session", _Session(server))
    return _Site(root)


class _Site(Site):
    noisy = False

    def log(self, request: object) -> None:
        """No line a request: the server writes one a connection."""


class _Session(Resource):
    isLeaf = True

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server

    def render_GET(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "application/json")
        return json.dumps(facts(self._server, request)).encode() + b"\n"


class _Page(Resource):
    isLeaf = True

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server

    def render_GET(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        # A reload shall show what a new connection is, not this one again
        request.setHeader("Connection", "close")
        request.channel.persistent = False
        known = facts(self._server, request)
        verdict = (
            "It knew you: your TLS session was resumed."
            if known["resumed"]
            else "This is a new TLS session."
        )
        rows = "".join(
            f"<tr><th>{escape(name)}<td>{escape(_words(value))}" for name, value in known.items()
        )
        page = _PAGE.format(server=escape(self._server), verdict=verdict, rows=rows)
        return page.encode()


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def facts(server: str, request: Request) -> dict[str, Any]:
    """What ``/session`` tells about the connection that `request` came over."""
    transport = request.channel.transport
    assert isinstance(transport, SessionTLSProtocol)
    session = transport.session()
    found_by = session.found_by
    peer = request.getClientAddress()
    return {
        "server": server,
        "protocol": session.protocol,
        "resumed": session.resumed,
        "carrier": found_by.carrier.value if found_by else None,
        "identifier": found_by.brought.hex() if found_by else None,
        "issued": [identifier.hex() for identifier in session.issued],
        "client": host_and_port(peer.host, peer.port),
    }
