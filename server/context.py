"""pyOpenSSL contexts whose sessions can be resumed, with IDs drawn from record 132."""

from __future__ import annotations

import warnings
from pathlib import Path
from secrets import token_bytes

import attrs
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, load_privatekey
from OpenSSL.crypto import Error as CryptoError
from twisted.logger import Logger

from server.files import read_key
from server.group import Group
from server.issuer import Issuer
from server.openssl import set_cache_size
from server.session_ids import SessionIds
from server.ticket_secrets import TicketSecrets
from server.tickets import Tickets
from shared.errors import HomingError
from shared.identifiers import KEY_NAME_LENGTH, LENGTH
from shared.record import Record

_log = Logger()

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
    resumption: str = "both"
    """"ids", "tickets", or "both": tickets for clients that take them, IDs for those that don't."""
    ticket_secret_lifetime: float = 12 * 3600
    """Seconds after which new tickets are made with a new secret."""
    renegotiation: bool = False
    """Whether TLS 1.2 clients may renegotiate.  It costs the server a handshake each time."""


@attrs.frozen
class Sessions:
    """A context, and the callbacks that must live as long as it."""

    context: SSL.Context
    issuer: Issuer
    tickets: bool
    """Whether clients that take tickets get them."""
    _callbacks: tuple[object, ...]
    group: Group | None = None


def server_context(options: TLSOptions, issuer: Issuer, group: Group | None = None) -> Sessions:
    """A context for TLS 1.2 and 1.3 whose session IDs and tickets' key names are of `issuer`.

    Its sessions are shared with `group`.  Raises HomingError when the certificate or its key cannot
    be used, and UnsupportedOpenSSL.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    _use_certificate(context, options)
    context.set_options(SSL.OP_NO_COMPRESSION)
    context.set_options(
        _OP_ALLOW_CLIENT_RENEGOTIATION if options.renegotiation else _OP_NO_RENEGOTIATION
    )
    context.set_session_id(_SESSION_ID_CONTEXT)
    context.set_timeout(options.session_lifetime)
    with_tickets = _has_tickets(options, issuer.record)
    session_ids = SessionIds(issuer, with_tickets, options.resumption == "tickets")
    session_ids.install(context)
    if options.resumption == "tickets":
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    else:
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        set_cache_size(context, options.session_cache)
    secrets = tickets = None
    if with_tickets:
        secrets = TicketSecrets(
            options.ticket_secret_lifetime, options.session_lifetime, token_bytes
        )
        tickets = Tickets(issuer, secrets)
        tickets.install(context)
    else:
        # TLS 1.3 too then keeps its sessions here and names them by the ID that we draw
        context.set_options(SSL.OP_NO_TICKET)
    if group is not None:
        group.install(context, secrets)
    return Sessions(context, issuer, with_tickets, (session_ids, tickets), group)


def _has_tickets(options: TLSOptions, record: Record) -> bool:
    """Whether to make tickets; a record may have no identifiers that are short enough for one."""
    if options.resumption == "ids":
        return False
    if record.share is not None or record.count(KEY_NAME_LENGTH) or not record.count():
        return True
    if options.resumption == "tickets":
        raise HomingError(
            f"tickets need identifiers of {KEY_NAME_LENGTH} bytes, that is, such that end in "
            f"{LENGTH - KEY_NAME_LENGTH} zero bytes, and the record has none: give the server "
            'other ids, or set resumption = "ids"'
        )
    _log.warn("the record has no identifiers for tickets: session IDs only")
    return False


def _use_certificate(context: SSL.Context, options: TLSOptions) -> None:
    try:
        options.certificate.open("rb").close()
        key = read_key(options.key)  # once, so that what is used is what was looked at
    except OSError as error:
        raise HomingError(f"cannot read {error.filename}: {error.strerror}") from error
    try:
        context.use_certificate_chain_file(str(options.certificate))
        with warnings.catch_warnings():  # what is to take its place is not in every version
            warnings.simplefilter("ignore", DeprecationWarning)
            context.use_privatekey(load_privatekey(FILETYPE_PEM, key))
        context.check_privatekey()
    except (SSL.Error, CryptoError) as error:
        raise HomingError(
            f"{options.certificate} and {options.key} are not a certificate chain and its key, "
            f"both in PEM: {error}"
        ) from error
