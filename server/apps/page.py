"""The demo application's page for people: what became of their session, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_SECOND = 2

MEMORY = 600
"""Seconds for which a browser remembers that it was here: far less than sessions live."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Homing: {server}</title><link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --good: #1a7f37; --bad: #b35900 }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em }}
.verdict {{ border-left: 4px solid gray; padding: .2em 1em }}
.resumed {{ border-color: var(--good) }} .lost {{ border-color: var(--bad) }}
table {{ border-spacing: 0; margin: 1.5em 0 }}
th {{ text-align: left; font-weight: 600; padding-right: 2em; vertical-align: top }}
td, code {{ font: 14px/1.7 ui-monospace, monospace; overflow-wrap: anywhere }}
summary {{ cursor: pointer; font-weight: 600 }}
</style>
<h1>You reached server {server}</h1>
<div class="verdict {kind}">{verdict}</div>
<table>{rows}</table>
<p>The same facts as JSON: <a href="/session">/session</a>.</p></html>
"""

_FIRST = """<p><b>This is a new TLS session.</b> Reload the page: your browser makes a new
connection, and your session finds its way home to {server}.</p>"""

_SPARE = """<p><b>Reload once more.</b> This connection is as old as your first visit: some browsers
open a spare one with the first, before there is a session, and use it up now.</p>"""

_RESUMED = """<p><b>It knew you: your TLS session was resumed.</b> This is a new connection, and the
balancer found {server}, which has your session, by the {carrier} it brought. Reload as often as you
like.</p>"""

_CARRIERS = {"psk": "PSK identity", "ticket": "ticket", "session-id": "session ID"}

_LOST = "<p><b>You were here before, but this is a new TLS session.</b></p>"

_AGAIN = """<p>If the browser trusts the certificate, it or {server} was started again: reload once
more.</p>"""

_ADVICE = """<p>Browsers do not, or not always, keep sessions of a certificate whose warning was
clicked away. Trust the farm's CA instead, the file <code>ca.pem</code> in its state folder
(<code>homing-state</code>), then come back:</p>{steps}"""

_STEPS = {
    "Firefox": "Settings, Privacy &amp; Security, View Certificates, Authorities, Import: choose "
    "<code>ca.pem</code> and tick &ldquo;Trust this CA to identify websites&rdquo;. Under Servers, "
    "delete the exception for this address. Restart Firefox.",
    "Chrome, Chromium, Edge": "On Linux, with libnss3-tools: <code>certutil -d "
    "sql:$HOME/.pki/nssdb -A -t C,, -n homing -i homing-state/ca.pem</code>. On macOS and Windows, "
    "add it to the system&rsquo;s trusted roots. Restart the browser.",
    "Safari": "<code>security add-trusted-cert -k ~/Library/Keychains/login.keychain-db "
    "homing-state/ca.pem</code>, or open the file in Keychain Access and choose &ldquo;Always "
    "Trust&rdquo;. Restart Safari.",
    "curl": "<code>curl --cacert homing-state/ca.pem -H &#39;Connection: close&#39; URL URL"
    "</code>: one process keeps its sessions for the next URL.",
}


def page(facts: Mapping[str, object], visits: int, agent: str, spare: bool = False) -> str:
    """The page for a browser's visit number `visits`; `agent` is its User-Agent in lower case.

    `spare` says that the connection is as old as the one of the visit before.
    """
    server = escape(str(facts["server"]))
    if facts["resumed"]:
        carrier = _CARRIERS[str(facts["carrier"])]
        kind, verdict = "resumed", _RESUMED.format(server=server, carrier=carrier)
    elif visits < _SECOND:
        kind, verdict = "first", _FIRST.format(server=server)
    elif spare:
        kind, verdict = "spare", _SPARE
    else:
        again, advice = _AGAIN.format(server=server), _ADVICE.format(steps=_steps(agent))
        kind, verdict = "lost", _LOST + advice + again
    rows = "".join(
        f"<tr><th>{escape(name)}<td>{escape(_words(value))}" for name, value in facts.items()
    )
    return _PAGE.format(server=server, kind=kind, verdict=verdict, rows=rows)


def _steps(agent: str) -> str:
    """What to do in each browser; the one that asks comes first, and is unfolded."""
    names = sorted(_STEPS, key=lambda name: name != _browser(agent))
    return "".join(
        f"<details{' open' if name == _browser(agent) else ''}><summary>{name}</summary>"
        f"<p>{_STEPS[name]}</p></details>"
        for name in names
    )


def _browser(agent: str) -> str:
    """Which of `_STEPS` fits; Chrome calls itself Safari, too."""
    marks = {"firefox": "Firefox", "chrom": "Chrome, Chromium, Edge", "safari": "Safari"}
    return next((name for mark, name in marks.items() if mark in agent), "curl")


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)
