"""pyOpenSSL contexts whose sessions can be resumed, with IDs drawn from record 132."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import urandom
from pathlib import Path
from typing import Any, Protocol

import attrs
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, load_privatekey
from OpenSSL.crypto import Error as CryptoError
from twisted.logger import Logger

from homing.server.files import read_key
from homing.server.groups.group import Group
from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.session_cache import SessionCache
from homing.server.identifiers.ticket_secrets import TicketSecrets
from homing.server.openssl.buffering import read_whole_flights
from homing.server.openssl.cache import CacheCallbacks
from homing.server.openssl.calls import forbids_tickets, lowest_version
from homing.server.openssl.session_ids import SessionIdCallback
from homing.server.openssl.tickets import TicketCallback
from homing.shared.errors import HomingError
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.record import Record

_log = Logger()

# openssl/ssl.h; pyOpenSSL has names for neither in every version
_OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 8
_OP_NO_RENEGOTIATION = 1 << 30
_MODE_ACCEPT_MOVING_WRITE_BUFFER = 1 << 1

_SESSION_ID_CONTEXT = b"homing"


@attrs.frozen(kw_only=True)
class TLSOptions:
    """What a server's TLS is set up with."""

    certificate: Path
    """PEM, the leaf first, then its chain."""
    key: Path
    session_lifetime: int
    """Seconds for which a session can be resumed."""
    session_cache: int
    """Sessions kept at most; the oldest go first."""
    resumption: str
    """"ids", "tickets", or "both": tickets for clients that take them, IDs for those that don't."""
    ticket_secret_lifetime: float
    """Seconds after which new tickets are made with a new secret."""
    renew_tickets: bool
    """Whether a TLS 1.2 client gets a new ticket at every visit, as every TLS 1.3 client does."""
    renegotiation: bool
    """Whether TLS 1.2 clients may renegotiate.  It costs the server a handshake each time."""


class Callbacks(Protocol):
    """Functions that OpenSSL calls; they must live as long as every context that calls them."""

    def install(self, context: SSL.Context) -> None:
        """Have `context` call them."""


@attrs.frozen
class _Protocols:
    """Chooses the application's protocol (ALPN, RFC 7301)."""

    _allowed: Sequence[bytes]

    def install(self, context: SSL.Context) -> None:
        context.set_alpn_select_callback(self._choose)

    def _choose(self, connection: SSL.Connection, offered: list[bytes]) -> Any:
        chosen = (one for one in self._allowed if one in offered)
        return next(chosen, SSL.NO_OVERLAPPING_PROTOCOLS)


@attrs.frozen
class ServerContext:
    """An OpenSSL context and what outlives it: whatever replaces it finds the same sessions."""

    ssl_context: SSL.Context
    issuer: Issuer
    cache: SessionCache
    group: Group | None
    _options: TLSOptions
    _callbacks: tuple[Callbacks, ...]

    @property
    def is_in_memory(self) -> bool:
        """Whether its connections need `HeldBackTransport`."""
        return self.group is not None or self._options.renegotiation

    def with_certificate(self, certificate: Path, key: Path) -> ServerContext:
        """The same with another certificate, for connections to come.

        Raises HomingError when it or its key cannot be used.
        """
        options = attrs.evolve(self._options, certificate=certificate, key=key)
        ssl_context = _ssl_context(options, self._callbacks)
        return attrs.evolve(self, ssl_context=ssl_context, options=options)


def server_context(
    options: TLSOptions, issuer: Issuer, group: Group | None = None, alpn: Sequence[bytes] = ()
) -> ServerContext:
    """A context for TLS 1.2 and 1.3 whose session IDs and tickets' key names are of `issuer`.

    Its sessions are shared with `group`.  Of the protocols `alpn` it chooses the first that its
    client offers.  Raises HomingError when the certificate or its key cannot be used, and
    UnsupportedOpenSSL.
    """
    with_tickets = _has_tickets(options, issuer.record)
    cache = SessionCache(options.session_cache, options.session_lifetime, issuer.now)
    callbacks: list[Callbacks] = [
        SessionIdCallback(
            issuer, cache, tickets=with_tickets, tickets_only=options.resumption == "tickets"
        )
    ]
    if options.resumption != "tickets":
        callbacks.append(CacheCallbacks(issuer, cache, group))
    if with_tickets:
        secrets = TicketSecrets(options.ticket_secret_lifetime, options.session_lifetime, urandom)
        callbacks.append(TicketCallback(issuer, secrets, renew=options.renew_tickets, group=group))
        if group is not None:
            group.use(secrets)
    if alpn:
        callbacks.append(_Protocols(alpn))
    ssl_context = _ssl_context(options, tuple(callbacks))
    return ServerContext(ssl_context, issuer, cache, group, options, tuple(callbacks))


def _ssl_context(options: TLSOptions, callbacks: tuple[Callbacks, ...]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if lowest_version(context) < SSL.TLS1_2_VERSION:  # openssl.cnf may ask for more
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
    _use_certificate(context, options)
    context.set_options(SSL.OP_NO_COMPRESSION)
    context.set_mode(_MODE_ACCEPT_MOVING_WRITE_BUFFER)  # old pyOpenSSL does not
    context.set_options(
        _OP_ALLOW_CLIENT_RENEGOTIATION if options.renegotiation else _OP_NO_RENEGOTIATION
    )
    context.set_session_id(_SESSION_ID_CONTEXT)
    context.set_timeout(options.session_lifetime)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    read_whole_flights(context)
    for each in callbacks:
        each.install(context)
    return context


def _has_tickets(options: TLSOptions, record: Record) -> bool:
    """Whether to make tickets: a record may have no identifier short enough for a key name."""
    if options.resumption == "ids":
        return False
    if forbids_tickets():
        if options.resumption == "tickets":
            raise HomingError(
                "OpenSSL's configuration forbids tickets: remove -SessionTicket from Options in "
                'openssl.cnf, or in the file that OPENSSL_CONF names, or set resumption = "ids"'
            )
        _log.warn("OpenSSL's configuration forbids tickets: session IDs and stateful tickets only")
        return False
    if record.count(KEY_NAME_LENGTH) or not record.count():
        return True
    if options.resumption == "tickets":
        raise HomingError(
            f"tickets need identifiers of {KEY_NAME_LENGTH} bytes, that is, such that end in "
            f"{LENGTH - KEY_NAME_LENGTH} zero bytes, and the record has none: give the server "
            'other ids, or set resumption = "ids"'
        )
    _log.warn("the record has no identifiers for tickets: session IDs only")
    return False


def usable(options: TLSOptions) -> None:
    """Raises HomingError when the certificate or its key cannot be used."""
    _use_certificate(SSL.Context(SSL.TLS_SERVER_METHOD), options)


def _use_certificate(context: SSL.Context, options: TLSOptions) -> None:
    try:
        options.certificate.open("rb").close()
        key = read_key(options.key)  # once: OpenSSL gets the very bytes that were checked
    except OSError as error:
        raise HomingError(f"cannot read {error.filename}: {error.strerror}") from error
    try:
        context.use_certificate_chain_file(str(options.certificate))
        with warnings.catch_warnings():  # old versions have nothing else
            warnings.simplefilter("ignore", DeprecationWarning)
            context.use_privatekey(load_privatekey(FILETYPE_PEM, key))
        context.check_privatekey()
    except (SSL.Error, CryptoError) as error:
        raise HomingError(
            f"{options.certificate} and {options.key} are not a certificate chain and its key, "
            f"both in PEM: {error}"
        ) from error
