"""The only place that reaches OpenSSL beyond pyOpenSSL's own API.

pyOpenSSL has no binding for choosing session IDs, yet the functions are in the process, inside the
OpenSSL that cryptography links.  Two cases cover Linux:

* linked dynamically (Debian, conda, self-built): ``dlsym`` on the extension finds them;
* linked statically (the wheels on PyPI): only ``PyInit_*`` is exported, but the extension keeps
  its symbol table, so that the address of F is that of ``PyInit_*`` moved by the distance of the
  two in the file.

The system's libssl must never be used on pyOpenSSL's ``SSL_CTX``: it may be another OpenSSL with
another layout.  Whether what was found here works is proven by `server.self_test`.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import struct
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import attrs
from cffi import FFI
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from server.ticket_secrets import TicketKeys
from shared.errors import UnsupportedOpenSSL

# SSL_CTX_ctrl commands, openssl/ssl.h
_SET_SESS_CACHE_SIZE = 42

# Documented prototypes; ffi knows the types from cryptography's own declarations.
_PROTOTYPES = {
    "EVP_CipherInit_ex": (
        "int(*)(void *, EVP_CIPHER *, void *, unsigned char *, unsigned char *, int)"
    ),
    "EVP_MAC_CTX_set_params": "int(*)(void *, void *)",
    "EVP_aes_256_cbc": "EVP_CIPHER *(*)(void)",
    "OpenSSL_version_num": "unsigned long(*)(void)",
    "SSL_CTX_ctrl": "long(*)(SSL_CTX *, int, long, void *)",
    "SSL_CTX_add_session": "int(*)(SSL_CTX *, SSL_SESSION *)",
    "SSL_CTX_sess_set_new_cb": "void(*)(SSL_CTX *, int(*)(SSL *, SSL_SESSION *))",
    "SSL_CTX_flush_sessions": "void(*)(SSL_CTX *, long)",
    "SSL_CTX_set_generate_session_id": (
        "int(*)(SSL_CTX *, int(*)(SSL *, unsigned char *, unsigned int *))"
    ),
    "SSL_CTX_set_tlsext_ticket_key_evp_cb": (
        "int(*)(SSL_CTX *, int(*)(SSL *, unsigned char *, unsigned char *, void *, void *, int))"
    ),
    "SSL_SESSION_get0_ticket": "void(*)(SSL_SESSION *, unsigned char **, size_t *)",
    "SSL_SESSION_set1_id": "int(*)(SSL_SESSION *, unsigned char *, unsigned int)",
    "SSL_SESSION_get_id": "unsigned char *(*)(SSL_SESSION *, unsigned int *)",
    "d2i_SSL_SESSION": "SSL_SESSION *(*)(SSL_SESSION **, unsigned char **, long)",
    "i2d_SSL_SESSION": "int(*)(SSL_SESSION *, unsigned char **)",
    "SSL_clear_options": "uint64_t(*)(SSL *, uint64_t)",
    "SSL_get_SSL_CTX": "SSL_CTX *(*)(SSL *)",
    "SSL_has_matching_session_id": "int(*)(SSL *, unsigned char *, unsigned int)",
    "SSL_set_not_resumable_session_callback": "void(*)(SSL *, int(*)(SSL *, int))",
    "SSL_set_num_tickets": "int(*)(SSL *, size_t)",
}

GENERATE_CALLBACK = "int(SSL *, unsigned char *, unsigned int *)"
TICKET_CALLBACK = "int(SSL *, unsigned char *, unsigned char *, void *, void *, int)"

NEW_SESSION_CALLBACK = "int(SSL *, SSL_SESSION *)"

_TLS_1_3 = 0x0304

# openssl/core.h
_UTF8_STRING, _OCTET_STRING = 4, 5
_params = FFI()
_params.cdef(
    """typedef struct { const char *key; unsigned int data_type; void *data; size_t data_size;
    size_t return_size; } OSSL_PARAM;"""
)


@attrs.frozen
class OpenSSLFunctions:
    """The OpenSSL functions of `_PROTOTYPES`, callable, and how they were found."""

    functions: dict[str, Any]
    linkage: str

    def __getattr__(self, name: str) -> Any:
        try:
            return self.functions[name]
        except KeyError:
            raise AttributeError(name) from None


@cache
def openssl() -> OpenSSLFunctions:
    """Find the functions in the OpenSSL that pyOpenSSL uses in this process.

    Raises UnsupportedOpenSSL, with what to do, on platforms and builds where that cannot be done.
    """
    if not sys.platform.startswith("linux"):
        raise UnsupportedOpenSSL(
            f"Homing chooses session IDs through OpenSSL functions that cryptography hides on "
            f"{sys.platform}; run the servers on Linux"
        )
    path, init_name = _extension()
    library = ctypes.CDLL(str(path))
    if hasattr(library, "SSL_CTX_set_generate_session_id"):
        linkage = "dynamic"
        addresses = {name: _address(getattr(library, name)) for name in _PROTOTYPES}
    else:
        linkage = "static"
        values = symbol_values(path, [init_name, *_PROTOTYPES])
        slide = _address(getattr(library, init_name)) - values[init_name]
        addresses = {name: values[name] + slide for name in _PROTOTYPES}
    found = OpenSSLFunctions(
        {name: ffi.cast(kind, addresses[name]) for name, kind in _PROTOTYPES.items()}, linkage
    )
    if found.OpenSSL_version_num() != lib.OpenSSL_version_num():
        raise UnsupportedOpenSSL(
            f"{path} leads to an OpenSSL that is not the one pyOpenSSL uses; install "
            "cryptography and pyOpenSSL from the same place, both from PyPI or both from the system"
        )
    return found


def _extension() -> tuple[Path, str]:
    """The extension module whose OpenSSL pyOpenSSL calls, and its init function's name.

    It is `_openssl` where that is a module of its own (cryptography up to 39), else `_rust`.
    """
    for name in ("_openssl", "_rust"):
        try:
            module = importlib.import_module(f"cryptography.hazmat.bindings.{name}")
        except ImportError:
            continue
        if module.__file__:
            return Path(module.__file__), f"PyInit_{name}"
    raise UnsupportedOpenSSL(
        "cryptography's extension module has no file of its own; install the package "
        "'cryptography' as a wheel from PyPI or from your distribution"
    )


def _address(function: Any) -> int:
    value = ctypes.cast(function, ctypes.c_void_p).value
    assert value is not None
    return value


def symbol_values(path: Path, names: list[str]) -> dict[str, int]:
    """The values (st_value) of `names` in the symbol table of the ELF file at `path`.

    Searches the string table and then makes one pass over the packed entries: milliseconds, where
    an index of all symbols takes more than a second.  Raises UnsupportedOpenSSL when the file is
    no ELF file, has no symbol table or lacks one of the names.
    """
    advice = (
        f"{path} is not a build of cryptography that Homing can use; install 'cryptography' as a "
        "wheel from PyPI (42 or later) or your distribution's package"
    )
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            if table is None:
                raise UnsupportedOpenSSL(f"{advice}: its symbol table has been stripped")
            strings = elf.get_section(table["sh_link"]).data()
            order = "<" if elf.little_endian else ">"
            # Elf64_Sym, Elf32_Sym: st_name and st_value stand at different places
            layout = f"{order}I4xQ8x" if elf.elfclass == 64 else f"{order}II8x"
            entries = table.data()
    except (OSError, ELFError, ValueError) as error:
        raise UnsupportedOpenSSL(f"{advice}: {error}") from error

    wanted = {offset: name for name in names for offset in _offsets(strings, name)}
    values = {
        wanted[st_name]: st_value
        for st_name, st_value in struct.iter_unpack(layout, entries)
        if st_name in wanted and st_value
    }
    missing = [name for name in names if name not in values]
    if missing:
        raise UnsupportedOpenSSL(f"{advice}: it lacks {', '.join(missing)}")
    return values


def _offsets(strings: bytes, name: str) -> list[int]:
    """Every offset at which the string table holds `name`; linkers may share the tails of names."""
    needle = name.encode() + b"\0"
    offsets = []
    at = strings.find(needle)
    while at >= 0:
        offsets.append(at)
        at = strings.find(needle, at + 1)
    return offsets


# What the rest of `server` calls, in pyOpenSSL's types


def set_cache_size(context: SSL.Context, sessions: int) -> None:
    """Let `context` keep at most `sessions` sessions (OpenSSL's own default is 20,480)."""
    openssl().SSL_CTX_ctrl(context._context, _SET_SESS_CACHE_SIZE, sessions, ffi.NULL)


def set_generate_callback(context: SSL.Context, callback: Any) -> None:
    """Have OpenSSL ask `callback` for every session ID; the caller keeps a reference to it."""
    openssl().SSL_CTX_set_generate_session_id(context._context, callback)


_REFUSE = ffi.callback(TICKET_CALLBACK, lambda *whatever: 0, error=0)


def refuse_tickets(context: SSL.Context) -> None:
    """Have `context` make and take no ticket that is not stateful."""
    set_ticket_callback(context, _REFUSE)


def set_ticket_callback(context: SSL.Context, callback: Any) -> None:
    """Have OpenSSL ask `callback` for every ticket's keys; the caller keeps a reference to it."""
    openssl().SSL_CTX_set_tlsext_ticket_key_evp_cb(context._context, callback)


def use_ticket_keys(cipher: Any, mac: Any, keys: TicketKeys, iv: Any, encrypt: bool) -> None:
    """Set up the contexts that OpenSSL passes to a ticket callback.  Raises RuntimeError."""
    digest, mac_key = _params.new("char[]", b"sha256"), _params.from_buffer(keys.mac)
    names = [_params.new("char[]", name) for name in (b"key", b"digest")]
    params = _params.new(
        "OSSL_PARAM[3]",
        [
            (names[0], _OCTET_STRING, mac_key, len(keys.mac), 0),
            (names[1], _UTF8_STRING, digest, len(b"sha256"), 0),
            (_params.NULL, 0, _params.NULL, 0, 0),
        ],
    )
    address = ffi.cast("void *", int(_params.cast("uintptr_t", params)))
    functions = openssl()
    if not functions.EVP_CipherInit_ex(
        cipher, functions.EVP_aes_256_cbc(), ffi.NULL, keys.aes, iv, encrypt
    ) or not functions.EVP_MAC_CTX_set_params(mac, address):
        raise RuntimeError("OpenSSL refuses AES-256-CBC or HMAC-SHA-256")


def session_id(connection: SSL.Connection) -> bytes:
    """The ID of the connection's current session, empty where there is none."""
    session = lib.SSL_get_session(connection._ssl)
    return b"" if session == ffi.NULL else _id_of(session)


def _id_of(session: Any) -> bytes:
    length = ffi.new("unsigned int *")
    start = openssl().SSL_SESSION_get_id(session, length)
    return bytes(ffi.buffer(start, length[0]))


def set_new_session_callback(context: SSL.Context, callback: Any) -> None:
    """Have OpenSSL tell `callback` of every new session; the caller keeps a reference to it."""
    openssl().SSL_CTX_sess_set_new_cb(context._context, callback)


def exported_session(session: Any) -> tuple[bytes, bytes]:
    """The ID and the DER of a raw ``SSL_SESSION *``."""
    length = openssl().i2d_SSL_SESSION(session, ffi.NULL)
    buffer = ffi.new("unsigned char[]", length)
    openssl().i2d_SSL_SESSION(session, ffi.new("unsigned char **", buffer))
    return _id_of(session), bytes(ffi.buffer(buffer, length))


def add_session(context: SSL.Context, exported: bytes) -> bool:
    """Put a session, as DER, into the cache of `context`; whether it is one."""
    buffer = ffi.new("unsigned char[]", exported)
    start = ffi.new("unsigned char **", buffer)
    session = openssl().d2i_SSL_SESSION(ffi.NULL, start, len(exported))
    if session == ffi.NULL:
        return False
    openssl().SSL_CTX_add_session(context._context, session)
    lib.SSL_SESSION_free(session)
    return True


def session_ticket(connection: SSL.Connection) -> bytes:
    """The ticket that a client has for its current session, empty where there is none."""
    session = lib.SSL_get_session(connection._ssl)
    start, length = ffi.new("unsigned char **"), ffi.new("size_t *")
    if session != ffi.NULL:
        openssl().SSL_SESSION_get0_ticket(session, start, length)
    return bytes(ffi.buffer(start[0], length[0])) if length[0] else b""


def is_tls13(ssl: Any) -> bool:
    """Whether a raw ``SSL *`` has negotiated TLS 1.3."""
    return bool(lib.SSL_version(ssl) == _TLS_1_3)


def session_reused(ssl: Any) -> bool:
    """Whether the handshake on a raw ``SSL *`` resumed a session."""
    return bool(lib.SSL_session_reused(ssl))


def _not_resumable(ssl: Any, forward_secure: int) -> int:
    """OpenSSL's not_resumable_session_cb, before the ServerHello: 1, do not keep the session."""
    openssl().SSL_SESSION_set1_id(lib.SSL_get_session(ssl), ffi.NULL, 0)  # nor show its ID
    return 1


_NOT_RESUMABLE = ffi.callback("int(SSL *, int)", _not_resumable, error=1)


def give_no_session(ssl: Any) -> None:
    """Have the handshake that a raw ``SSL *`` is in give its client nothing to come back with.

    To be called when OpenSSL asks for a session's ID.  In TLS 1.2 the session then has none; in
    TLS 1.3 the ticket that should have had it becomes one of those that the ticket callback
    makes: see `refuse_tickets`.
    """
    openssl().SSL_set_not_resumable_session_callback(ssl, _NOT_RESUMABLE)
    openssl().SSL_clear_options(ssl, SSL.OP_NO_TICKET)
    openssl().SSL_set_num_tickets(ssl, 0)


def is_known(ssl: Any, identifier: bytes) -> bool:
    """Whether the session cache holds `identifier` already."""
    return bool(openssl().SSL_has_matching_session_id(ssl, identifier, len(identifier)))


def is_in_use(ssl: Any, identifier: bytes) -> bool:
    """Whether the session cache holds `identifier` for a session that has not expired."""
    if not is_known(ssl, identifier):
        return False
    # OpenSSL itself throws expired ones out only now and then
    openssl().SSL_CTX_flush_sessions(openssl().SSL_get_SSL_CTX(ssl), math.ceil(time.time()))
    return is_known(ssl, identifier)


def forget_sessions(context: SSL.Context) -> None:
    """Empty the session cache of `context`."""
    everything = 0  # sessions that expire before this time; 0: whenever they do
    openssl().SSL_CTX_flush_sessions(context._context, everything)
