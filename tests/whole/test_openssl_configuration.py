"""A machine whose OpenSSL is not allowed everything: servers do what is."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.processes import config_of, demo_farm, homing, local_servers
from tests.whole.clients import connect, context, visit

_CONF = """openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = default
[default]
"""


def _allow(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes to come find an OpenSSL configuration that says `what`."""
    path = folder / "openssl.cnf"
    path.write_text(_CONF + what)
    monkeypatch.setenv("OPENSSL_CONF", str(path))


@pytest.mark.parametrize(
    ("what", "allowed", "forbidden"),
    [
        ("MaxProtocol = TLSv1.2", "TLSv1.2", "TLSv1.3"),
        ("MinProtocol = TLSv1.3", "TLSv1.3", "TLSv1.2"),
        ("Protocol = -TLSv1.3", "TLSv1.2", "TLSv1.3"),
    ],
)
def test_a_farm_serves_by_what_is_allowed(
    what: str, allowed: str, forbidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _allow(what, tmp_path, monkeypatch)
    state = tmp_path / "state"
    with demo_farm(state, "--servers", "1") as farm:
        client = context(farm.ca, allowed)
        first = visit(farm.listen, client)
        assert visit(farm.listen, client, first.session).reused
        with pytest.raises(ssl.SSLError):
            connect(farm.listen, context(farm.ca, forbidden))
        assert f"{forbidden.replace('v', ' ')} is not offered" in farm.log.read_text()


def test_a_farm_without_tickets_resumes_by_what_its_servers_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _allow("Options = -SessionTicket", tmp_path, monkeypatch)
    state = tmp_path / "state"
    with demo_farm(state, "--servers", "1") as farm:
        for version, carrier in (("TLSv1.2", "session-id"), ("TLSv1.3", "psk")):
            client = context(farm.ca, version)
            again = visit(farm.listen, client, visit(farm.listen, client).session)
            assert (again.reused, again.answer["carrier"]) == (True, carrier)
        assert farm.log.read_text().count("OpenSSL's configuration forbids tickets") == 1


@pytest.mark.parametrize(
    ("what", "more", "why"),
    [
        ("MaxProtocol = TLSv1.1", "", "neither TLS 1.2 nor TLS 1.3"),
        (
            "Options = -SessionTicket",
            '[session_ids]\nresumption="tickets"\n',
            "OpenSSL's configuration forbids tickets",
        ),
    ],
)
def test_a_server_that_may_not_do_what_it_must_does_not_start_and_says_why(
    what: str, more: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _allow(what, tmp_path, monkeypatch)
    config = config_of(tmp_path, local_servers("s1"), more=more)
    ran = homing("server", *config, "--name", "s1", cwd=tmp_path)
    assert ran.status != 0
    assert why in ran.said
    assert "Traceback" not in ran.said
