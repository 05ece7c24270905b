"""The secrets that a server makes its tickets with.  Pure: time comes in.

The first 32 bytes of a ticket are its key name, which is an identifier of the record (RFC 5077,
4), and its IV.  Half of the IV is a random nonce, so that no two tickets share keys even if they
share a name.  One MAC of name and nonce, under a secret, gives the ticket's keys and the other half
of the IV, its tag: by it a server finds the secret that made a ticket, and keeps nothing per
ticket.

The MAC is keyed BLAKE2b (RFC 7693, 2.9), whose 64 bytes are enough for all three; they tell nothing
of each other, as it is a pseudorandom function.  HMAC-SHA-512 would do, too, at four times the
cost, which a forged ticket has the server pay once for each secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from hmac import compare_digest

import attrs

from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH

SECRET_LENGTH = 32
IV_LENGTH = 16
_NONCE_LENGTH = 8

# What the MAC gives
AES_KEY_LENGTH = 32
"""AES-256 in CBC mode."""
MAC_KEY_LENGTH = 24
"""HMAC-SHA-256."""
_TAG = AES_KEY_LENGTH + MAC_KEY_LENGTH
"""Where the tag begins, 8 bytes."""

_MANY = 600
"""If there are so many secrets, new ones are made more rarely, so that there are never twice as
many: a forged ticket is compared with each, and a group shares all of them at once."""

Randbytes = Callable[[int], bytes]
"""Returns so many random bytes."""


@attrs.define(eq=False)
class TicketSecret:
    """One secret, and when it was made, in seconds."""

    value: bytearray = attrs.field(repr=False)
    made_at: float

    def derived(self, name: bytes, nonce: bytes) -> bytes:
        """A ticket's AES key, its MAC key and its tag, 64 bytes in all."""
        return blake2b(name + nonce, key=self.value, person=b"homing ticket").digest()

    def wipe(self) -> None:
        """Overwrite the secret; copies that the allocator made may remain."""
        self.value[:] = bytes(len(self.value))


class TicketSecrets:
    """A secret for new tickets and older ones, newest first.

    A secret makes tickets for `lifetime` seconds.  Then it still opens them for `session_lifetime`,
    until the sessions in its last tickets have expired; then it is dropped.  If that would come to
    too many secrets, each makes tickets for longer.  The clock may be put forward and back.
    """

    def __init__(self, lifetime: float, session_lifetime: float, randbytes: Randbytes) -> None:
        self._lifetime = lifetime
        self._session_lifetime = session_lifetime
        self.accepted_for = lifetime + session_lifetime
        """Seconds from when a secret is made to when it is dropped."""
        self._randbytes = randbytes
        self.made: Callable[[], None] = lambda: None
        """Called when a new secret is made."""
        self._secrets: list[TicketSecret] = []

    def __len__(self) -> int:
        return len(self._secrets)

    def current(self, now: float) -> TicketSecret:
        """The secret for new tickets."""
        self._look_at_clock(now)
        if not self._secrets or now - self._secrets[0].made_at >= self._makes_for():
            fresh = TicketSecret(bytearray(self._randbytes(SECRET_LENGTH)), now)
            self._secrets.insert(0, fresh)
            self.made()
        return self._secrets[0]

    def _makes_for(self) -> float:
        """How long the newest makes tickets."""
        if len(self._secrets) < _MANY:
            return self._lifetime
        return max(self._lifetime, self._session_lifetime / _MANY)

    def new_ticket(self, now: float, name: bytes) -> tuple[bytes, bytes]:
        """The IV of a new ticket of this name, and what is `derived` for it."""
        nonce = self._randbytes(_NONCE_LENGTH)
        derived = self.current(now).derived(name, nonce)
        return nonce + derived[_TAG:], derived

    def find(self, now: float, start: bytes) -> tuple[TicketSecret, bytes] | None:
        """The secret that made the ticket that starts so, 32 bytes, and what is `derived` for it.

        None for a ticket that is not ours, or too old.
        """
        self._look_at_clock(now)
        if len(start) != LENGTH:
            return None
        name, tag = start[:KEY_NAME_LENGTH], start[-_NONCE_LENGTH:]
        nonce = start[KEY_NAME_LENGTH:-_NONCE_LENGTH]
        for secret in self._secrets:
            derived = secret.derived(name, nonce)
            if compare_digest(derived[_TAG:], tag):
                return secret, derived
        return None

    def exported(self) -> list[tuple[float, bytes]]:
        """All secrets, each with the time it was made at, to be shared within a group."""
        return [(secret.made_at, bytes(secret.value)) for secret in self._secrets]

    def merge(self, now: float, others: Iterable[tuple[float, bytes]]) -> None:
        """Add secrets of the group that are not known yet.

        Of two times of one secret the earlier counts: the later is by a clock that was ahead.
        """
        known = {bytes(secret.value): secret for secret in self._secrets}
        for made_at, value in others:
            if not now - self.accepted_for < made_at <= now + self._lifetime:
                continue
            if value in known:
                known[value].made_at = min(known[value].made_at, made_at)
            else:
                self._secrets.append(TicketSecret(bytearray(value), made_at))
        self._secrets.sort(key=lambda secret: (secret.made_at, secret.value), reverse=True)
        self._look_at_clock(now)

    def _look_at_clock(self, now: float) -> None:
        """Wipe secrets that are too old; one of the future counts as new: the clock was ahead."""
        for secret in self._secrets:
            if secret.made_at <= now:
                break
            secret.made_at = now
        while self._secrets and now - self._secrets[-1].made_at >= self.accepted_for:
            self._secrets.pop().wipe()
