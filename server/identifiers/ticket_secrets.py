"""The secrets that a server makes its tickets with.  Pure: time comes in.

The keys of a ticket are derived from a secret and the ticket's first 32 bytes: its key name, which
is an identifier of the record (RFC 5077, 4), and its IV.  Half of the IV is random, so that no two
tickets share keys even if they share a name.  The other half is a MAC: by it a server finds the
secret that made a ticket, and keeps nothing per ticket.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable

import attrs

SECRET_LENGTH = 32
IV_LENGTH = 16
_NONCE_LENGTH = 8

_MANY = 600
"""If there are so many secrets, new ones are made more rarely, so that there are never twice as
many: a forged ticket is compared with each, and a group shares all of them at once."""

Randbytes = Callable[[int], bytes]
"""Returns so many random bytes."""


@attrs.frozen
class TicketKeys:
    """What one ticket is encrypted with."""

    aes: bytes = attrs.field(repr=False)
    """AES-256 in CBC mode."""
    mac: bytes = attrs.field(repr=False)
    """HMAC-SHA-256."""


@attrs.define(eq=False)
class TicketSecret:
    """One secret, and when it was made, in seconds."""

    value: bytearray = attrs.field(repr=False)
    made_at: float

    def iv(self, name: bytes, nonce: bytes) -> bytes:
        """The IV of a new ticket; `nonce` is 8 random bytes."""
        return nonce + self._mac(b"iv", name + nonce)[: IV_LENGTH - _NONCE_LENGTH]

    def made(self, name: bytes, iv: bytes) -> bool:
        """Whether a ticket with this name and IV was made with this secret."""
        return hmac.compare_digest(iv, self.iv(name, iv[:_NONCE_LENGTH]))

    def keys(self, name: bytes, iv: bytes) -> TicketKeys:
        """The keys of the ticket with this name and IV."""
        return TicketKeys(self._mac(b"aes", name + iv), self._mac(b"mac", name + iv))

    def wipe(self) -> None:
        """Overwrite the secret; copies that OpenSSL, hmac or the allocator made may remain."""
        self.value[:] = bytes(len(self.value))

    def _mac(self, purpose: bytes, message: bytes) -> bytes:
        return hmac.digest(self.value, b"homing ticket " + purpose + b"\0" + message, "sha256")


class TicketSecrets:
    """A secret for new tickets and older ones, newest first.

    A secret makes tickets for `lifetime` seconds.  Then it still opens them for `session_lifetime`,
    until the sessions in its last tickets have expired; then it is dropped.  If that would come to
    too many secrets, each makes tickets for longer.  The clock may be put forward and back.
    """

    def __init__(self, lifetime: float, session_lifetime: float, randbytes: Randbytes) -> None:
        self._lifetime = lifetime
        self._session_lifetime = session_lifetime
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

    def find(self, now: float, name: bytes, iv: bytes) -> TicketSecret | None:
        """The secret that made a ticket; None for one that is not ours, or too old."""
        self._look_at_clock(now)
        return next((secret for secret in self._secrets if secret.made(name, iv)), None)

    @property
    def accepted_for(self) -> float:
        """Seconds from when a secret is made to when it is dropped."""
        return self._lifetime + self._session_lifetime

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

    def new_nonce(self) -> bytes:
        """Random bytes for the IV of one ticket."""
        return self._randbytes(_NONCE_LENGTH)

    def _look_at_clock(self, now: float) -> None:
        """Wipe secrets that are too old; one of the future counts as new: the clock was ahead."""
        for secret in self._secrets:
            if secret.made_at <= now:
                break
            secret.made_at = now
        while self._secrets and now - self._secrets[-1].made_at >= self.accepted_for:
            self._secrets.pop().wipe()
