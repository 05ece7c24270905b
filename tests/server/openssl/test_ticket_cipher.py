"""What OpenSSL makes of a ticket's keys, read by another implementation of the format."""

from __future__ import annotations

import hmac
from hashlib import blake2b, sha256
from random import Random

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from OpenSSL import SSL

from homing.server.identifiers.ticket_secrets import TicketSecrets
from homing.server.openssl.calls import session_reused, session_ticket
from homing.server.openssl.tickets import TicketCallback
from homing.server.tls.context import usable
from tests.server.openssl.server import BOTH
from tests.tls import InMemory, issuer, options

_SHA256_LENGTH = 32


class Ticketing:
    """A plain context that makes its tickets with `secrets`."""

    def __init__(self, seed: int) -> None:
        self.secrets = TicketSecrets(3600.0, 7200.0, Random(seed).randbytes)
        self._callback = TicketCallback(issuer(), self.secrets, renew=True, group=None)
        chosen = options()
        usable(chosen)
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate_chain_file(str(chosen.certificate))
        self.context.use_privatekey_file(str(chosen.key))
        self.context.set_session_id(b"tests")
        self._callback.install(self.context)

    def opened(self, ticket: bytes) -> bytes:
        """What lies in a ticket.  Raises ValueError for one of somebody else."""
        (_, secret), *others = self.secrets.exported()
        assert not others
        name, nonce, tag, iv = ticket[:16], ticket[16:24], ticket[24:32], ticket[16:32]
        material = blake2b(name + nonce, key=secret, person=b"homing ticket", digest_size=64)
        aes, mac_key, expected = (material.digest()[a:b] for a, b in ((0, 32), (32, 56), (56, 64)))
        body, mac = ticket[:-_SHA256_LENGTH], ticket[-_SHA256_LENGTH:]
        if tag != expected or mac != hmac.new(mac_key, body, sha256).digest():
            raise ValueError("another's ticket")
        decryptor = Cipher(AES(aes), CBC(iv)).decryptor()
        padded = decryptor.update(body[32:]) + decryptor.finalize()
        unpadder = PKCS7(128).unpadder()
        return unpadder.update(padded) + unpadder.finalize()


@BOTH
def test_a_ticket_is_encrypted_and_authenticated_as_written_down(version: int) -> None:
    server = Ticketing(1)
    for _ in range(20):
        client = InMemory(server.context, version).shake_hands().client
        master = client.master_key()
        inside = server.opened(session_ticket(client))
        assert inside[:1] == b"\x30", "no DER of a session"
        assert version != SSL.TLS1_2_VERSION or (master is not None and master in inside)


@BOTH
def test_servers_in_one_process_take_turns_and_mix_up_no_keys(version: int) -> None:
    """They share no buffer in which a ticket's keys lie."""
    servers = [Ticketing(seed) for seed in range(3)]
    begun = [InMemory(server.context, version) for server in servers]
    for _ in range(3):
        for pair in begun:
            pair.shake_hands()
    for server, pair in zip(servers, begun, strict=True):
        assert server.opened(session_ticket(pair.client))
        again = InMemory(server.context, version, pair.resumable()).shake_hands()
        assert session_reused(again.server)
        assert server.opened(session_ticket(again.client))
