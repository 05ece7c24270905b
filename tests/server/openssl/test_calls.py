"""Finding OpenSSL's functions, and what is said where they cannot be found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.bindings import _rust
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from homing.server.openssl.functions import _PROTOTYPES, openssl, symbol_values
from homing.shared.errors import UnsupportedOpenSSL

EXTENSION = Path(str(_rust.__file__))


def test_every_function_is_found_in_the_openssl_that_pyopenssl_uses() -> None:
    found = openssl()
    assert vars(found).keys() == _PROTOTYPES.keys() | {"linkage"}
    assert found.OpenSSL_version_num() == lib.OpenSSL_version_num()
    assert found.linkage in {"static", "dynamic"}


def test_the_functions_work_on_pyopenssls_objects() -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    sessions_kept = 43  # SSL_CTRL_GET_SESS_CACHE_SIZE
    control = openssl().SSL_CTX_ctrl
    assert control(context._context, sessions_kept, 0, ffi.NULL) == 20_480


def advice(path: Path, names: list[str]) -> str:
    """What is said when the symbols are not there."""
    with pytest.raises(UnsupportedOpenSSL) as refused:
        symbol_values(path, names)
    text = str(refused.value)
    assert str(path) in text
    assert "install 'cryptography'" in text
    return text


def test_a_function_that_is_missing_is_named() -> None:
    text = advice(EXTENSION, ["SSL_CTX_ctrl", "SSL_CTX_teapot", "SSL_kettle"])
    assert text.endswith("it lacks SSL_CTX_teapot, SSL_kettle")


def test_the_tail_of_a_longer_name_is_not_taken_for_the_name() -> None:
    assert advice(EXTENSION, ["L_CTX_ctrl"]).endswith("it lacks L_CTX_ctrl")


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"MZ" + bytes(200), b"\x7fELF\2\1\1" + bytes(200), b"\xff" * 99]
)
def test_a_file_that_is_no_elf_file_gets_advice(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "_rust.pyd"
    file.write_bytes(content)
    advice(file, ["PyInit__rust"])


def test_a_missing_file_gets_advice(tmp_path: Path) -> None:
    advice(tmp_path / "none.so", ["PyInit__rust"])


def test_a_stripped_extension_gets_advice(tmp_path: Path) -> None:
    stripped = tmp_path / "_rust.so"
    subprocess.run(["strip", "-o", stripped, EXTENSION], check=True)
    assert advice(stripped, ["PyInit__rust"]).endswith("its symbol table has been stripped")


def test_a_truncated_or_broken_extension_gets_advice(tmp_path: Path) -> None:
    whole = EXTENSION.read_bytes()
    file = tmp_path / "_rust.so"
    for length in (16, 63, 64, 4096, len(whole) // 2, len(whole) - 100_000, len(whole) - 1000):
        file.write_bytes(whole[:length])
        advice(file, ["PyInit__rust"])
    file.write_bytes(whole[:40] + b"\xff" * 8 + whole[48:])  # the section table is nowhere
    advice(file, ["PyInit__rust"])
