"""Finds the functions of OpenSSL that pyOpenSSL has no binding for.

They are in the process, inside the OpenSSL that cryptography links.  Two cases cover Linux:

* linked dynamically (Debian, conda, self-built): ``dlsym`` on the extension finds them;
* linked statically (the wheels on PyPI): only ``PyInit_*`` is exported, but the extension keeps
  its symbol table.  The address of F is that of ``PyInit_*`` plus the distance of the two in the
  file.

The system's libssl must never be used on pyOpenSSL's ``SSL_CTX``: it may be another OpenSSL with
another layout.  `homing.server.tls.self_test` proves that what was found here works.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from OpenSSL._util import ffi, lib

from homing.shared.errors import UnsupportedOpenSSL

# Documented prototypes; ffi knows the types from cryptography's own declarations.
_PROTOTYPES = {
    "BIO_number_read": "uint64_t(*)(BIO *)",
    "EVP_CIPHER_fetch": "EVP_CIPHER *(*)(void *, char *, char *)",
    "EVP_CipherInit_ex": (
        "int(*)(void *, EVP_CIPHER *, void *, unsigned char *, unsigned char *, int)"
    ),
    "EVP_MAC_CTX_set_params": "int(*)(void *, void *)",
    "OpenSSL_version_num": "unsigned long(*)(void)",
    "SSL_CTX_ctrl": "long(*)(SSL_CTX *, int, long, void *)",
    "SSL_CTX_sess_set_get_cb": (
        "void(*)(SSL_CTX *, SSL_SESSION *(*)(SSL *, unsigned char *, int, int *))"
    ),
    "SSL_CTX_sess_set_new_cb": "void(*)(SSL_CTX *, int(*)(SSL *, SSL_SESSION *))",
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
    "SSL_CTX_set_client_hello_cb": "void(*)(SSL_CTX *, int(*)(SSL *, int *, void *), void *)",
    "SSL_clear_options": "uint64_t(*)(SSL *, uint64_t)",
    "SSL_client_hello_get0_ext": "int(*)(SSL *, unsigned int, unsigned char **, size_t *)",
    "SSL_client_hello_get0_session_id": "size_t(*)(SSL *, unsigned char **)",
    "SSL_get_options": "uint64_t(*)(SSL *)",
    "SSL_get_rbio": "BIO *(*)(SSL *)",
    "SSL_has_pending": "int(*)(SSL *)",
    "SSL_new_session_ticket": "int(*)(SSL *)",
    "SSL_set_not_resumable_session_callback": "void(*)(SSL *, int(*)(SSL *, int))",
    "SSL_set_num_tickets": "int(*)(SSL *, size_t)",
}


@cache
def openssl() -> SimpleNamespace:
    """The functions of `_PROTOTYPES`, from the OpenSSL that pyOpenSSL uses in this process.

    Its attribute `linkage` says how they were found: "static" or "dynamic".  Raises
    UnsupportedOpenSSL that says what to do on platforms and builds where they cannot be.
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
    functions = {name: ffi.cast(kind, addresses[name]) for name, kind in _PROTOTYPES.items()}
    found = SimpleNamespace(linkage=linkage, **functions)
    if found.OpenSSL_version_num() != lib.OpenSSL_version_num():
        raise UnsupportedOpenSSL(
            f"{path} leads to an OpenSSL that is not the one pyOpenSSL uses; install "
            "cryptography and pyOpenSSL from the same place, both from PyPI or both from the system"
        )
    return found


def _extension() -> tuple[Path, str]:
    """The extension module whose OpenSSL pyOpenSSL calls, and its init function's name.

    It is `_openssl` in cryptography up to 39, then `_rust`.
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

    A search of the string table and one pass over the packed entries take milliseconds; an index
    of all symbols takes more than a second.  Raises UnsupportedOpenSSL when the file is no ELF
    file, has no symbol table or lacks one of the names.
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
