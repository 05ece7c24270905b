"""A server whose IDs would not come from its record does not start."""

from __future__ import annotations

import attrs
import pytest
from OpenSSL import SSL
from OpenSSL._util import ffi

from server.context import Sessions, server_context
from server.issuer import Issuer
from server.openssl import openssl
from server.self_test import prove
from server.session_ids import SessionIds
from shared.errors import UnsupportedOpenSSL
from shared.id_sets import IdList, IdRange
from shared.record import Record
from tests.tls import RECORD, InMemory, certificates, options

_SESSIONS_KEPT = 20  # SSL_CTRL_SESS_NUMBER


def test_a_context_with_the_hook_passes() -> None:
    issuer = Issuer(RECORD)
    prove(server_context(options(), issuer))
    assert issuer._watches == {}


def test_the_proof_leaves_no_session_behind() -> None:
    sessions = server_context(options(), Issuer(RECORD))
    prove(sessions)
    kept = openssl().SSL_CTX_ctrl(sessions.context._context, _SESSIONS_KEPT, 0, ffi.NULL)
    assert kept == 0


def test_the_proof_uses_up_no_id_of_a_small_record() -> None:
    issuer = Issuer(Record((IdList([b"\1" * 32, b"\2" * 32]),)))
    sessions = server_context(options(), issuer)
    prove(sessions)
    InMemory(sessions.context, SSL.TLS1_3_VERSION).shake_hands()


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
    sessions = Sessions(plain_context(), Issuer(RECORD), False, ())
    with pytest.raises(UnsupportedOpenSSL, match="do not come from the record"):
        prove(sessions)


def test_a_context_that_gives_out_its_own_tickets_is_refused() -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(certificates().certificate))
    context.use_privatekey_file(str(certificates().key))
    issuer = Issuer(RECORD)
    session_ids = SessionIds(issuer, False)
    session_ids.install(context)
    with pytest.raises(UnsupportedOpenSSL, match="do not come from the record"):
        prove(Sessions(context, issuer, True, (session_ids,)))


def test_ids_outside_the_record_are_refused() -> None:
    sessions = server_context(options(), Issuer(RECORD))
    another = Issuer(Record((IdRange.of_prefix(b"AWAY"),)))
    with pytest.raises(UnsupportedOpenSSL, match="do not come from the record"):
        prove(attrs.evolve(sessions, issuer=another))


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_server_that_cannot_do_both_tls_versions_says_which_failed(version: int) -> None:
    sessions = server_context(options(), Issuer(RECORD))
    sessions.context.set_min_proto_version(version)
    sessions.context.set_max_proto_version(version)
    missing = "TLS 1.3" if version == SSL.TLS1_2_VERSION else "TLS 1.2"
    with pytest.raises(UnsupportedOpenSSL, match=f"a {missing} handshake with ourselves failed"):
        prove(sessions)
