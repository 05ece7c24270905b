"""Probes of real servers: ours, `openssl s_server`, and some that hang or refuse."""

from __future__ import annotations

import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from homing.balancer.data_planes.probe_state import ServerHealth
from homing.balancer.data_planes.relay import ProbeOptions, Relay, RelayOptions
from homing.balancer.probing.conclusions import Conclusion, Topic
from homing.balancer.service import Balancer
from homing.balancer.table import Entry, Table
from homing.certs.demo import DemoCertificates
from homing.certs.issue import issue_ca, issue_leaf
from homing.server.service import TCPAddress
from homing.shared.id_sets import IdRange
from tests.balancer.running import TCPServer, balancing, connect, wait_up, way_to
from tests.logs import log
from tests.processes import listens, process
from tests.reactor import HOST, WITHIN, eventually
from tests.server.running import free_port, serving
from tests.tls import certificates, read_all, shake_hands

VERSIONS = {Topic.TLS_1_2, Topic.TLS_1_3}


def probed(port: int, host: str = HOST, **options: Any) -> RelayOptions:
    """The way to a server that is probed often."""
    probe: dict[str, Any] = {
        "tls_name": "localhost",
        "ca": certificates().ca,
        "every": 0.2,
        "within": WITHIN,
    }
    known = {one.name for one in attrs.fields(ProbeOptions)}
    probe |= {key: options.pop(key) for key in list(options) if key in known}
    return way_to(host, port, probe=ProbeOptions(**probe), **options)


def table(**prefixes: str) -> Table:
    """Each server's prefix."""
    entries = (Entry(name, IdRange.of_prefix(one.encode())) for name, one in prefixes.items())
    return Table(tuple(entries))


def finds(balancer: Balancer, topic: Topic, conclusion: Conclusion) -> str:
    """Wait until a probe has come to a conclusion about s1; returns its words."""
    findings = balancer.observing.probers["s1"].findings

    def found() -> bool:
        finding = findings.get(topic)
        return finding is not None and finding.conclusion is conclusion

    eventually(found, f"{topic}: {conclusion}; there is {findings}")
    return str(findings[topic])


def is_fine(balancer: Balancer) -> None:
    """Wait until all topics have been looked at, and all is well."""
    for topic in Topic:
        finds(balancer, topic, Conclusion.FINE)


@contextmanager
def ours(**options: Any) -> Iterator[int]:
    """A server of ours whose identifiers begin with HOME; its port."""
    port = free_port()
    with serving(TCPAddress(HOST, port, options.pop("proxy_protocol", False)), **options):
        yield port


@contextmanager
def s_server(
    folder: Path, *options: str, made: DemoCertificates | None = None
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`openssl s_server`, its port on HOST, and its process."""
    port, pems = free_port(), made or certificates()
    command = ["openssl", "s_server", "-accept", f"{HOST}:{port}", "-www"]
    command += ["-cert", str(pems.certificate), "-key", str(pems.key), *options]
    with process(*command, cwd=folder) as running:
        eventually(lambda: listens(f"{HOST}:{port}"))
        yield port, running


@pytest.mark.parametrize("resumption", ["ids", "tickets"])
@pytest.mark.parametrize("proxy_protocol", [False, True])
def test_a_server_that_keeps_to_its_record_is_found_to_be_well_and_nothing_is_said(
    resumption: str, proxy_protocol: bool
) -> None:
    with ours(resumption=resumption, proxy_protocol=proxy_protocol) as port:
        way = probed(port, proxy_protocol=proxy_protocol)
        with log("homing.balancer.probing") as lines:
            with balancing({"s1": way}, table(s1="HOME")) as (balancer, _):
                is_fine(balancer)
                eventually(lambda: balancer.observing.probers["s1"]._count > 3)
                is_fine(balancer)
        assert lines == []


def test_a_probe_costs_a_server_full_handshakes_only_at_first() -> None:
    port = free_port()
    with serving(TCPAddress(HOST, port), log_connections=True) as server, log("homing") as lines:
        with balancing({"s1": probed(port)}, table(s1="HOME")) as (balancer, _):
            eventually(lambda: balancer.observing.probers["s1"]._count > 4)
    assert server.issuer.record
    visits = [line for line in lines if "TLSv1" in line]
    assert len(visits) >= 8
    assert sum("new session" in line for line in visits) == len(VERSIONS)


def test_a_server_with_anothers_identifiers_is_told_of_with_the_other_name() -> None:
    """By hand: two copies of farm.toml that differ."""
    with ours() as port, log("homing.balancer.probing") as lines:
        servers = {"s1": probed(port), "s2": way_to(HOST, port)}
        with balancing(servers, table(s1="ELSE", s2="HOME")) as (balancer, _):
            words = finds(balancer, Topic.TLS_1_2, Conclusion.ELSEWHERE)
            finds(balancer, Topic.TLS_1_3, Conclusion.ELSEWHERE)
            eventually(lambda: balancer.observing.probers["s1"]._count > 3)
            assert balancer.planes["s1"].up
    assert "484f4d45" in words
    assert "s2" in words
    assert len(lines) == len(VERSIONS)  # once, not at every probe


def test_a_server_whose_identifiers_nobody_lists_is_told_of() -> None:
    with ours() as port, balancing({"s1": probed(port)}, table(s1="ELSE")) as (balancer, _):
        assert "484f4d45" in finds(balancer, Topic.TLS_1_3, Conclusion.UNLISTED)


def test_a_server_that_resumes_nothing_is_told_of(tmp_path: Path) -> None:
    options = ("-no_ticket", "-no_cache")
    with s_server(tmp_path, *options) as (port, _):
        way = probed(port, within=2.0)
        with balancing({"s1": way}, table()) as (balancer, _):
            finds(balancer, Topic.TLS_1_2, Conclusion.NOT_RESUMED)
            assert balancer.planes["s1"].up


def test_a_version_that_is_not_offered_is_no_fault(tmp_path: Path) -> None:
    with s_server(tmp_path, "-tls1_2") as (port, _), log("homing.balancer.probing") as lines:
        way = probed(port, learn_ids=True)
        with balancing({"s1": way}, table(), learns=True) as (balancer, _):
            finds(balancer, Topic.TLS_1_3, Conclusion.NOT_OFFERED)
            finds(balancer, Topic.TLS_1_2, Conclusion.FINE)
            finds(balancer, Topic.ANSWER, Conclusion.FINE)
    assert lines == []


def test_something_that_speaks_no_tls_is_told_of_and_keeps_its_connections() -> None:
    with TCPServer() as plain, balancing({"s1": probed(plain.port)}, table()) as (balancer, _):
        for _ in VERSIONS:
            with plain.accept() as visit:
                visit.sendall(b"220 welcome\r\n")
        finds(balancer, Topic.TLS_1_2, Conclusion.NO_HANDSHAKE)
        eventually(lambda: balancer.planes["s1"].up)


class TestCertificates:
    def test_another_name_is_only_told_of_where_nobody_asked_for_one(self) -> None:
        with ours() as port:
            way = probed(port, tls_name="www.example.org")
            with balancing({"s1": way}, table(s1="HOME")) as (balancer, _):
                words = finds(balancer, Topic.CERTIFICATE, Conclusion.DISTRUSTED)
                finds(balancer, Topic.TLS_1_3, Conclusion.FINE)
                wait_up(balancer, "s1")
        assert "www.example.org" in words

    def test_a_server_with_another_name_than_was_asked_for_gets_no_clients(self) -> None:
        with ours() as port, log("homing.balancer.probing") as lines:
            way = probed(port, tls_name="www.example.org", strict=True)
            with balancing({"s1": way}, table(s1="HOME")) as (balancer, _):
                finds(balancer, Topic.CERTIFICATE, Conclusion.IMPOSTOR)
                eventually(lambda: balancer.observing.probers["s1"]._count > 3)
                assert not balancer.planes["s1"].up
        assert len(lines) == 1

    def test_the_name_that_was_asked_for_is_served(self) -> None:
        with ours() as port:
            way = probed(port, strict=True)
            with balancing({"s1": way}, table(s1="HOME")) as (balancer, address):
                wait_up(balancer, "s1")
                is_fine(balancer)
                with shake_hands(connect(address)):
                    pass

    def test_an_address_may_be_the_name(self) -> None:
        host = "127.0.0.1"
        port = free_port(host)
        with serving(TCPAddress(host, port)):
            way = probed(port, host, tls_name=host, strict=True)
            with balancing({"s1": way}, table(s1="HOME")) as (balancer, _):
                is_fine(balancer)

    def test_a_ca_that_nobody_trusts_is_told_of(self) -> None:
        with ours() as port, balancing({"s1": probed(port, ca=None)}, table()) as (balancer, _):
            assert "CA" in finds(balancer, Topic.CERTIFICATE, Conclusion.DISTRUSTED)

    def test_an_expired_certificate_is_told_of(self, tmp_path: Path) -> None:
        made = expired(tmp_path)
        with s_server(tmp_path, made=made) as (port, _):
            way = probed(port, ca=made.ca)
            with balancing({"s1": way}, table()) as (balancer, _):
                words = finds(balancer, Topic.CERTIFICATE, Conclusion.DISTRUSTED)
        assert "expired" in words

    def test_a_ca_that_comes_later_is_used_then(self, tmp_path: Path) -> None:
        """`homing certs`, or the first of our servers, makes it."""
        ca = tmp_path / "ca.pem"
        with ours() as port:
            way = probed(port, ca=ca)
            with balancing({"s1": way}, table(s1="HOME")) as (balancer, _):
                wait_up(balancer, "s1")
                eventually(lambda: balancer.observing.probers["s1"]._count > 1)
                assert not balancer.observing.probers["s1"].findings
                ca.write_bytes(certificates().ca.read_bytes())
                is_fine(balancer)


def expired(folder: Path) -> DemoCertificates:
    """A CA, and a leaf that has ended."""
    made = DemoCertificates(folder)
    ca = issue_ca(datetime.now(UTC))
    leaf = issue_leaf(ca, ["localhost"], datetime.now(UTC) - timedelta(days=3650))
    made.ca.write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    made.certificate.write_bytes(leaf.certificate.public_bytes(Encoding.PEM))
    pem = leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made.key.write_bytes(pem)
    return made


class TestHealth:
    def test_a_hung_server_is_down_though_its_kernel_accepts_and_up_when_it_wakes(
        self, tmp_path: Path
    ) -> None:
        with s_server(tmp_path) as (port, running):
            way = probed(port, within=0.5)
            with balancing({"s1": way}, table()) as (balancer, _):
                finds(balancer, Topic.ANSWER, Conclusion.FINE)
                wait_up(balancer, "s1")
                running.send_signal(signal.SIGSTOP)
                try:
                    eventually(lambda: not balancer.planes["s1"].up)
                    assert listens(f"{HOST}:{port}")
                    finds(balancer, Topic.ANSWER, Conclusion.HANGS)
                    plane = balancer.planes["s1"]
                    assert isinstance(plane, Relay)
                    assert plane.health is ServerHealth.SHUT_OUT
                finally:
                    running.send_signal(signal.SIGCONT)
                wait_up(balancer, "s1")

    def test_a_server_that_closes_without_a_word_is_down_and_up_when_it_speaks(self) -> None:
        port = free_port()
        with balancing({"s1": probed(port)}, table(s1="HOME")) as (balancer, _):
            finds(balancer, Topic.ANSWER, Conclusion.REFUSES)
            assert not balancer.planes["s1"].up
            with serving(TCPAddress(HOST, port)):
                wait_up(balancer, "s1")
                is_fine(balancer)
            finds(balancer, Topic.ANSWER, Conclusion.REFUSES)
            eventually(lambda: not balancer.planes["s1"].up)

    def test_a_balancer_that_stops_within_a_probe_leaves_nothing(self) -> None:
        with TCPServer() as silent:
            with balancing({"s1": probed(silent.port)}, table()) as (_, _):
                visit = silent.accept()
            with visit:
                read_all(visit)


def test_tickets_of_a_stock_server_come_home_by_the_key_name_that_a_probe_saw(
    tmp_path: Path,
) -> None:
    with s_server(tmp_path) as (port, _), TCPServer() as other:
        servers = {"s1": probed(port, learn_ids=True), "s2": other.way()}
        with balancing(servers, table(), learns=True) as (balancer, address):
            is_fine(balancer)
            wait_up(balancer, "s1", "s2")
            assert balancer.rules.key_names is not None
            assert len(balancer.rules.key_names) == 1
            client = visit(port)
            for _ in range(4):
                with shake_hands(connect(address), session=client) as tls:
                    assert tls.session_reused


def visit(port: int) -> ssl.SSLSession:
    """A session with the server itself, in TLS 1.3."""
    with shake_hands(connect((HOST, port), b"")) as tls:
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_all(tls)
        assert tls.session is not None
        return tls.session
