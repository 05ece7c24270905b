"""Ticket secrets: rotated, accepted as long as a session of theirs can live, then wiped."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homing.server.identifiers.ticket_secrets import (
    AES_KEY_LENGTH,
    MAC_KEY_LENGTH,
    SECRET_LENGTH,
    TicketSecret,
    TicketSecrets,
)
from homing.shared.identifiers import LENGTH

LIFETIME, SESSION_LIFETIME = 100.0, 30.0
NAME = b"HOME".ljust(16, b"n")
NAMES = st.binary(min_size=16, max_size=16)


def fresh(seed: int = 1) -> TicketSecrets:
    return TicketSecrets(LIFETIME, SESSION_LIFETIME, Random(seed).randbytes)


def make(secrets: TicketSecrets, now: float, name: bytes = NAME) -> tuple[TicketSecret, bytes]:
    """The secret of a new ticket, and its first 32 bytes."""
    iv, _ = secrets.new_ticket(now, name)
    return secrets.current(now), name + iv


def changed(start: bytes, bit: int) -> bytes:
    """With one bit changed."""
    flipped = bytearray(start)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def keys(derived: bytes) -> tuple[bytes, bytes]:
    """A ticket's keys for AES and for its MAC."""
    return derived[:AES_KEY_LENGTH], derived[AES_KEY_LENGTH:][:MAC_KEY_LENGTH]


def found(secrets: TicketSecrets, now: float, start: bytes) -> TicketSecret | None:
    """The secret that made a ticket."""
    match = secrets.find(now, start)
    return match and match[0]


class TestRotation:
    def test_a_secret_makes_tickets_for_its_lifetime_and_no_longer(self) -> None:
        secrets = fresh()
        first = secrets.current(1000.0)
        assert secrets.current(1099.9) is first
        assert secrets.current(1100.0) is not first

    def test_a_ticket_is_accepted_until_its_session_has_ended(self) -> None:
        secrets = fresh()
        secrets.current(1000.0)
        last = make(secrets, 1099.9)
        for now in (1099.9, 1100.0, 1129.9):
            assert found(secrets, now, last[1]) is last[0]
        assert found(secrets, 1130.0, last[1]) is None

    def test_what_is_too_old_is_wiped_from_memory_not_only_forgotten(self) -> None:
        secrets = fresh()
        old, _ = make(secrets, 1000.0)
        held = old.value
        assert any(held)
        secrets.current(1129.9)
        assert any(held)
        secrets.current(1130.0)
        assert held == bytes(SECRET_LENGTH)
        assert len(secrets) == 1

    def test_a_clock_put_back_loses_no_ticket(self) -> None:
        secrets = fresh()
        secret, start = make(secrets, 1000.0)
        assert found(secrets, 500.0, start) is secret
        assert secrets.current(500.0) is secret

    def test_a_secret_made_while_the_clock_was_far_ahead_is_not_used_for_ever(self) -> None:
        secrets = fresh()
        year = 365 * 86_400.0
        first, start = make(secrets, year)
        assert found(secrets, 1000.0, start) is first, "its tickets are lost with the clock"
        assert secrets.current(1099.9) is first
        assert secrets.current(1100.0) is not first
        assert found(secrets, 1129.9, start) is first
        assert found(secrets, 1130.0, start) is None
        assert first.value == bytes(SECRET_LENGTH)

    def test_secrets_that_change_every_second_do_not_pile_up_by_the_thousand(self) -> None:
        secrets = TicketSecrets(1.0, 7200.0, Random(1).randbytes)
        most = 0
        for now in range(20_000):
            secrets.current(float(now))
            most = max(most, len(secrets))
        assert 600 < most < 1200

    def test_every_new_secret_is_told_of_once(self) -> None:
        secrets, told = fresh(), list[int]()
        secrets.made = lambda: told.append(len(secrets))
        for now in (0.0, 50.0, 99.0, 100.0, 101.0, 250.0):
            secrets.current(now)
        assert told == [1, 2, 1]


class TestSharing:
    """Within a group secrets are shared, with the times they were made at."""

    def test_a_fellow_accepts_the_tickets_and_for_as_long(self) -> None:
        one, other = fresh(1), fresh(2)
        _, start = make(one, 1000.0)
        assert found(other, 1000.0, start) is None
        other.merge(1050.0, one.exported())
        assert found(other, 1129.9, start) is not None
        assert found(other, 1130.0, start) is None

    def test_merging_twice_adds_nothing_and_loses_nothing(self) -> None:
        one, other = fresh(1), fresh(2)
        mine = make(other, 990.0)
        _, start = make(one, 1000.0)
        for _ in range(3):
            other.merge(1001.0, one.exported())
            assert len(other) == 2
            assert found(other, 1001.0, start) is not None
            assert found(other, 1001.0, mine[1]) is mine[0]

    def test_all_of_a_group_go_on_with_the_same_secret(self) -> None:
        members = [fresh(seed) for seed in range(3)]
        for number, member in enumerate(members):
            member.current(1000.0 + number)
        for member in members:
            for other in members:
                member.merge(1010.0, other.exported())
        assert len({bytes(member.current(1010.0).value) for member in members}) == 1

    def test_a_secret_of_a_clock_that_was_ahead_is_not_used_for_ever_by_any_of_a_group(
        self,
    ) -> None:
        members = [fresh(seed) for seed in range(3)]
        ahead = members[0].current(1000.0 + 90.0)  # not so far that it is not taken over
        value = bytes(ahead.value)
        used = 0.0
        for now in range(1000, 1300, 5):
            for member in members:
                for other in members:
                    member.merge(float(now), other.exported())
            if any(bytes(one.current(float(now)).value) == value for one in members):
                used = now - 1000.0
        assert used < LIFETIME + 10
        assert all(bytes(one.value) != value for each in members for one in each._secrets)

    def test_all_of_a_group_agree_how_old_a_secret_is_and_say_so_once(self) -> None:
        """Else each would write its own time to the store, again and again."""
        one, other = fresh(1), fresh(2)
        one.current(1003.0)
        other.merge(1000.0, one.exported())
        for now in (1001.0, 1002.0):
            one.merge(now, other.exported())
            other.merge(now, one.exported())
        assert one.exported() == other.exported()
        assert one.exported()[0][0] == 1000.0

    def test_one_whose_clock_is_put_far_back_makes_no_other_forget(self) -> None:
        one, other = fresh(1), fresh(2)
        _, start = make(one, 1000.0)
        other.merge(1000.0, one.exported())
        other.current(100.0)
        one.merge(1001.0, other.exported())
        assert found(one, 1001.0, start) is not None

    def test_what_is_too_old_or_of_a_far_future_is_not_taken_over(self) -> None:
        secrets = fresh()
        late, early = b"l" * SECRET_LENGTH, b"e" * SECRET_LENGTH
        secrets.merge(1000.0, [(1000.0 - 130.0, early), (1000.0 + LIFETIME + 1, late)])
        assert len(secrets) == 0


class TestFinding:
    @given(NAMES, st.integers(0, 1 << 32))
    def test_a_ticket_of_any_name_is_found_and_by_its_own_secret_only(
        self, name: bytes, seed: int
    ) -> None:
        secrets = fresh(seed)
        tickets = [make(secrets, now, name) for now in (0.0, 100.0, 120.0)]
        assert tickets[1][0] is tickets[2][0] is not tickets[0][0]
        for secret, start in tickets:
            assert len(start) == LENGTH
            assert found(secrets, 125.0, start) is secret

    @given(st.binary(min_size=LENGTH, max_size=LENGTH))
    def test_made_up_names_and_ivs_are_not_ours(self, start: bytes) -> None:
        secrets = fresh()
        make(secrets, 0.0)
        make(secrets, 100.0)
        assert found(secrets, 100.0, start) is None

    @given(st.integers(0, 8 * LENGTH - 1))
    def test_a_bit_changed_in_name_or_iv_makes_a_foreign_ticket(self, bit: int) -> None:
        secrets = fresh()
        _, start = make(secrets, 0.0)
        assert found(secrets, 0.0, changed(start, bit)) is None

    @given(st.integers(0, 40), st.binary(max_size=80))
    def test_what_is_too_short_or_too_long_is_not_ours_and_no_error(
        self, length: int, more: bytes
    ) -> None:
        secrets = fresh()
        _, start = make(secrets, 0.0)
        brought = start[:length] + more
        assert (found(secrets, 0.0, brought) is not None) == (brought == start)


class TestKeys:
    def test_no_two_tickets_have_a_key_or_iv_in_common_even_with_one_name(self) -> None:
        """A small record has one name of 16 bytes; two tickets under it must share nothing."""
        secrets, parts = fresh(), list[bytes]()
        for _ in range(500):
            iv, derived = secrets.new_ticket(0.0, NAME)
            parts += [*keys(derived), iv[:8], iv[8:]]
        assert len(set(parts)) == len(parts)

    @given(NAMES, st.integers(0, 1 << 32))
    def test_a_ticket_is_opened_with_the_keys_that_it_was_made_with(
        self, name: bytes, seed: int
    ) -> None:
        secrets = fresh(seed)
        iv, derived = secrets.new_ticket(0.0, name)
        match = secrets.find(0.0, name + iv)
        assert match == (secrets.current(0.0), derived)

    @given(st.integers(0, 8 * 24 - 1))
    def test_they_hang_on_every_bit_of_name_and_nonce(self, bit: int) -> None:
        secret, start = make(fresh(), 0.0)
        other = changed(start, bit)
        made = keys(secret.derived(start[:16], start[16:24]))
        assert not set(made) & set(keys(secret.derived(other[:16], other[16:24])))

    def test_no_secret_shows_in_text(self) -> None:
        secrets = fresh()
        secret = secrets.current(0.0)
        told = "".join(f"{one!r} {one!s}" for one in (secrets, secret, secret.derived))
        hidden = bytes(secret.value)
        for form in (repr(hidden)[2:-1], hidden.hex(), repr(bytearray(hidden))[12:-2]):
            assert form[:12] not in told


class Life(RuleBasedStateMachine):
    """Tickets made and brought back at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets = fresh()
        self.now = 0.0
        self.tickets: list[tuple[float, bytes, TicketSecret]] = []

    @rule(seconds=st.sampled_from([0.0, 1.0, 29.0, 30.0, 71.0, 100.0, 131.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_ticket_is_made(self) -> None:
        secret, start = make(self.secrets, self.now)
        assert self.now - secret.made_at < LIFETIME
        self.tickets.append((self.now, start, secret))

    @rule(data=st.data())
    def a_ticket_comes_back(self, data: st.DataObject) -> None:
        if not self.tickets:
            return
        made_at, start, secret = data.draw(st.sampled_from(self.tickets))
        finder = found(self.secrets, self.now, start)
        if self.now - made_at < SESSION_LIFETIME:
            assert finder is secret, "a session that lives is lost"
        assert finder in (secret, None)
        assert (finder is None) == (not any(secret.value)), "forgotten, but not wiped"

    @invariant()
    def nothing_piles_up(self) -> None:
        found(self.secrets, self.now, bytes(LENGTH))
        assert len(self.secrets) <= 2
        for _, _, secret in self.tickets:
            if self.now - secret.made_at >= LIFETIME + SESSION_LIFETIME:
                assert not any(secret.value)


TestLife = settings(max_examples=60)(Life).TestCase
