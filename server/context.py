"""pyOpenSSL contexts whose sessions can be resumed, with IDs drawn from record 132."""

from __future__ import annotations

from pathlib import Path

import attrs
from OpenSSL import SSL

from server.openssl import set_cache_size
from server.session_ids import SessionIds
from shared.errors import HomingError

# openssl/ssl.h; pyOpenSSL has names for neither in every version
_OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 8
_OP_NO_RENEGOTIATION = 1 << 30

_SESSION_ID_CONTEXT = b"homing"


@attrs.frozen
class TLSOptions:
    """What a server's TLS is set up with."""

    certificate: Path
    """PEM, the leaf first, then its chain."""
    key: Path
    session_lifetime: int = 7200
    """Seconds for which a session can be resumed."""
    session_cache: int = 20_480
    """Sessions kept at most; the oldest go first."""
    renegotiation: bool = False
    """Whether TLS 1.2 clients may renegotiate.  It costs the server a handshake each time."""


def server_context(options: TLSOptions, session_ids: SessionIds) -> SSL.Context:
    """A context for TLS 1.2 and 1.3 whose stateful sessions have IDs of `session_ids`.

    Raises HomingError when the certificate or its key cannot be used, and UnsupportedOpenSSL.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    _use_certificate(context, options)
    # Without tickets, TLS 1.3 too keeps its sessions here and names them by the ID that we draw
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_options(
        _OP_ALLOW_CLIENT_RENEGOTIATION if options.renegotiation else _OP_NO_RENEGOTIATION
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_session_id(_SESSION_ID_CONTEXT)
    context.set_timeout(options.session_lifetime)
    set_cache_size(context, options.session_cache)
    session_ids.install(context)
    return context


def _use_certificate(context: SSL.Context, options: TLSOptions) -> None:
    for path in (options.certificate, options.key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise HomingError(f"cannot read {path}: {error.strerror}") from error
    try:
        context.use_certificate_chain_file(str(options.certificate))
        context.use_privatekey_file(str(options.key))
        context.check_privatekey()
    except SSL.Error as error:
        raise HomingError(
            f"{options.certificate} and {options.key} are not a certificate chain and its key, "
            f"both in PEM: {error}"
        ) from error
