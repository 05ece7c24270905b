"""How OpenSSL buffers what it reads and writes."""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL._util import ffi

from homing.server.openssl.functions import openssl

_SET_READ_AHEAD = 41  # SSL_CTX_ctrl command, openssl/ssl.h


def read_whole_flights(context: SSL.Context) -> None:
    """Have `context` read all records that are there in one system call.

    Without it OpenSSL asks for each record's header, then for its body.  A connection with nothing
    to read or write holds no buffer.
    """
    openssl().SSL_CTX_ctrl(context._context, _SET_READ_AHEAD, 1, ffi.NULL)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
