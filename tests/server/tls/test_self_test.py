"""A server whose IDs would not come from its record does not start."""

from __future__ import annotations

from secrets import token_bytes

import attrs
import pytest
from OpenSSL import SSL
from OpenSSL._util import ffi

from homing.server.identifiers.ticket_secrets import TicketSecrets
from homing.server.openssl.functions import openssl
from homing.server.openssl.session_ids import SessionIdCallback
from homing.server.openssl.tickets import TicketCallback
from homing.server.tls.context import ServerContext, server_context
from homing.server.tls.self_test import run_self_test
from homing.shared.errors import UnsupportedOpenSSL
from homing.shared.id_sets import IdList, IdRange
from homing.shared.record import Record
from tests.logs import log
from tests.tls import InMemory, certificates, issuer, options

BOTH = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])

_SESSIONS_KEPT = 20  # SSL_CTRL_SESS_NUMBER


def test_the_proof_leaves_no_session_behind() -> None:
    sessions = server_context(options(), issuer())
    run_self_test(sessions)
    kept = openssl().SSL_CTX_ctrl(sessions.ssl_context._context, _SESSIONS_KEPT, 0, ffi.NULL)
    assert kept == 0
    assert len(sessions.cache) == 0


def test_the_proof_uses_up_no_id_of_a_small_record() -> None:
    record = Record((IdList([b"\1" * 32, b"\2" * 32]),))
    sessions = server_context(options(), issuer(record))
    run_self_test(sessions)
    InMemory(sessions.ssl_context, SSL.TLS1_3_VERSION).shake_hands()


def plain_context() -> SSL.Context:
    """A context that draws its own IDs."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(certificates().certificate))
    context.use_privatekey_file(str(certificates().key))
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_session_id(b"tests")
    return context


def test_a_context_without_the_hook_is_refused() -> None:
    sessions = attrs.evolve(server_context(options(), issuer()), ssl_context=plain_context())
    with pytest.raises(UnsupportedOpenSSL, match="do not come from the record"):
        run_self_test(sessions)


def test_a_context_that_gives_out_its_own_tickets_is_refused() -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(certificates().certificate))
    context.use_privatekey_file(str(certificates().key))
    sessions = server_context(options(), issuer())
    session_ids = SessionIdCallback(sessions.issuer, sessions.cache, tickets=True)
    session_ids.install(context)
    with pytest.raises(UnsupportedOpenSSL, match="do not come from the record"):
        run_self_test(attrs.evolve(sessions, ssl_context=context))


def test_ids_outside_the_record_are_refused() -> None:
    sessions = server_context(options(), issuer())
    another = issuer(Record((IdRange.of_prefix(b"AWAY"),)))
    with pytest.raises(UnsupportedOpenSSL, match="do not come from the record"):
        run_self_test(attrs.evolve(sessions, issuer=another))


def restricted(*versions: int) -> ServerContext:
    """A context on a machine that allows TLS from one version to another only."""
    sessions = server_context(options(resumption="both"), issuer())
    sessions.ssl_context.set_min_proto_version(versions[0])
    sessions.ssl_context.set_max_proto_version(versions[-1])
    return sessions


@BOTH
def test_a_server_that_may_speak_one_tls_version_only_is_proven_for_that_one(version: int) -> None:
    sessions = restricted(version)
    with log() as events:
        run_self_test(sessions)
    assert ["is not offered" in line for line in events] == [True]


def test_a_server_that_may_speak_no_tls_version_says_what_forbids_it() -> None:
    with pytest.raises(UnsupportedOpenSSL, match=r"neither TLS 1.2 nor TLS 1.3.*OPENSSL_CONF"):
        run_self_test(restricted(SSL.TLS1_1_VERSION))


@BOTH
def test_a_server_that_cannot_shake_hands_says_in_which_version(version: int) -> None:
    without_certificate = SSL.Context(SSL.TLS_SERVER_METHOD)
    without_certificate.set_min_proto_version(version)
    without_certificate.set_max_proto_version(version)
    sessions = attrs.evolve(restricted(version), ssl_context=without_certificate)
    name = "TLS 1.2" if version == SSL.TLS1_2_VERSION else "TLS 1.3"
    with pytest.raises(UnsupportedOpenSSL, match=f"a {name} handshake with ourselves failed"):
        run_self_test(sessions)


@BOTH
def test_sessions_that_would_not_be_found_again_are_refused(version: int) -> None:
    sessions = restricted(version)
    for each in sessions._callbacks:
        if isinstance(each, TicketCallback):
            each._secrets = TicketSecrets(0.0, 0.0, token_bytes)  # every one is too old at once
    with pytest.raises(UnsupportedOpenSSL, match="are not found again"):
        run_self_test(sessions)
