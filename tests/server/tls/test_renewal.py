"""New certificates in mid-run: no session is lost, and no connection."""

from __future__ import annotations

import gc
import socket
import ssl
import weakref
from pathlib import Path
from typing import Any

import attrs
import pytest
from OpenSSL import SSL

from homing.certs.demo import demo_certificates
from homing.server.openssl.calls import session_reused
from homing.server.service import TCPAddress, TLSServer
from homing.server.tls.context import server_context
from homing.shared.errors import HomingError
from tests.reactor import WITHIN, call
from tests.server.running import serving
from tests.tls import VERSIONS, InMemory, Session, ask, issuer, options

WAYS = [
    ("both", VERSIONS[0], True),
    ("both", VERSIONS[0], False),
    ("both", VERSIONS[1], True),
    ("ids", VERSIONS[0], False),
    ("ids", VERSIONS[1], True),
]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Another certificate and its key, as `TLSOptions` names them."""
    made = demo_certificates(tmp_path_factory.mktemp("renewed"))
    return {"certificate": made.certificate, "key": made.key}


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Client:
    """One that takes any certificate, and shows it."""

    def __init__(self, port: int, version: ssl.TLSVersion, tickets: bool) -> None:
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.minimum_version = self._context.maximum_version = version
        if not tickets:
            self._context.options |= ssl.OP_NO_TICKET

    def connect(self, session: Session | None = None) -> ssl.SSLSocket:
        """After the handshake."""
        plain = socket.create_connection(("127.0.0.1", self._port), WITHIN)
        return self._context.wrap_socket(plain, session=session)


def renew(server: TLSServer, others: dict[str, Path]) -> None:
    changed: Any = others
    call(lambda: server.renew(attrs.evolve(options(), **changed)))


@pytest.mark.parametrize(("resumption", "version", "tickets"), WAYS)
def test_who_was_here_before_a_renewal_resumes_after_it(
    resumption: str, version: ssl.TLSVersion, tickets: bool, port: int, others: dict[str, Path]
) -> None:
    client = Client(port, version, tickets)
    with serving(TCPAddress("127.0.0.1", port), resumption=resumption) as server:
        with client.connect() as stays:
            first = ask(stays)
            before, session = stays.getpeercert(binary_form=True), stays.session
            assert first["resumed"] is False
            for _ in range(3):
                renew(server, others)
            with client.connect(session) as back:
                again = ask(back)
                assert (again["resumed"], again["identifier"][:32]) == (
                    True,
                    first["issued"][-1][:32],
                )
            assert ask(stays)["issued"] == first["issued"], "an open connection has ended"
            with client.connect() as new:
                assert ask(new)["resumed"] is False
                assert new.getpeercert(binary_form=True) != before


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_a_renewal_that_cannot_be_leaves_the_old_certificate_in_force(
    broken: str, port: int, others: dict[str, Path], tmp_path: Path
) -> None:
    client = Client(port, VERSIONS[1], True)
    with serving(TCPAddress("127.0.0.1", port)) as server:
        with client.connect() as first:
            ask(first)
            before, session = first.getpeercert(binary_form=True), first.session
        for content in (None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"):
            path = tmp_path / "file.pem"
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(HomingError, match=r"file\.pem"):
                renew(server, {**others, broken: path})
        with pytest.raises(HomingError, match="and its key"):
            renew(server, {broken: others[broken]})
        with client.connect() as new:
            assert new.getpeercert(binary_form=True) == before
        with client.connect(session) as back:
            assert ask(back)["resumed"] is True


def test_a_thousand_renewals_leave_nothing_behind_but_what_connections_hold(
    others: dict[str, Path],
) -> None:
    sessions = server_context(options(), issuer())
    pair = InMemory(sessions.ssl_context, SSL.TLS1_2_VERSION).shake_hands()
    first = weakref.ref(sessions.ssl_context)
    made = []
    for _ in range(1000):
        sessions = sessions.with_certificate(**others)
        made.append(weakref.ref(sessions.ssl_context))
    gc.collect()
    assert [one() is None for one in made[:-1]] == [True] * 999
    assert first() is pair.server.get_context()
    assert pair.says(b"still here") == b"still here"
    session = pair.resumable()
    del pair
    gc.collect()
    assert first() is None
    back = InMemory(sessions.ssl_context, SSL.TLS1_2_VERSION, session).shake_hands()
    assert session_reused(back.server)
