"""What differs between two farm.toml, and what of it can be in force at once."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from homing.farm.config.changes import _NEEDS, Needs, changes, in_force
from homing.farm.config.farm_toml import load
from homing.farm.config.sections import (
    BalancerSection,
    FarmConfig,
    FarmSection,
    ServerSection,
    SessionIdsSection,
    TLSSection,
)

BOTH = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n{s1}\n'
BOTH += '[[server]]\nname = "s2"\naddress = "unix:s2.sock"\n'
LIVE = (Needs.NOTHING, Needs.REGISTRY)


def farm(folder: Path, text: str = "", s1: str = "", servers: str = BOTH) -> FarmConfig:
    """A farm.toml, loaded."""
    path = folder / "farm.toml"
    path.write_text(f"{text}\n{servers.format(s1=s1)}")
    return load(path)


def test_every_key_that_needs_less_than_a_whole_restart_is_one_of_farm_toml() -> None:
    sections = {"balancer": BalancerSection, "farm": FarmSection, "server": ServerSection}
    sections |= {"session_ids": SessionIdsSection, "tls": TLSSection}
    keys = {f"{name}.{key}" for name, one in sections.items() for key in attrs.fields_dict(one)}
    assert keys >= _NEEDS.keys()


def test_two_readings_of_one_file_differ_in_nothing(tmp_path: Path) -> None:
    assert changes(farm(tmp_path), farm(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "words", "needs"),
    [
        ('[balancer]\npolicy = "random"', "balancer.policy: round-robin -> random", Needs.NOTHING),
        (
            '[balancer]\ndefault_server = "s2"',
            "balancer.default_server: not set -> s2",
            Needs.NOTHING,
        ),
        ("[balancer]\nignore_ids = true", "balancer.ignore_ids: false -> true", Needs.NOTHING),
        ("[balancer]\nhello_timeout = 2", "balancer.hello_timeout: 5.0 -> 2.0", Needs.NOTHING),
        ("[balancer]\nidle_timeout = 60", "balancer.idle_timeout: 3600.0 -> 60.0", Needs.BALANCER),
        (
            '[balancer]\nlisten = ["tcp:1", "tcp6:1"]',
            "balancer.listen: tcp:8443:interface=127.0.0.1 -> tcp:1, tcp6:1",
            Needs.LISTENER,
        ),
        ('[session_ids]\nspare = "50%"', "session_ids.spare: 20% -> 50%", Needs.REGISTRY),
        ('[session_ids]\nscheme = "hash"', "session_ids.scheme: range -> hash", Needs.FARM),
        ("[tls]\nrenegotiation = true", "tls.renegotiation: false -> true", Needs.SERVERS),
    ],
)
def test_every_change_says_the_key_both_values_and_what_has_to_start_again(
    tmp_path: Path, text: str, words: str, needs: Needs
) -> None:
    (change,) = changes(farm(tmp_path), farm(tmp_path, text))
    assert (str(change), change.needs, change.live) == (words, needs, needs in LIVE)


def test_a_certificate_elsewhere_is_in_force_at_once(tmp_path: Path) -> None:
    new = farm(tmp_path, '[tls]\ncertificate = "c.pem"\nkey = "k.pem"')
    found = changes(farm(tmp_path), new)
    assert [(one.key, one.live) for one in found] == [("tls.certificate", True), ("tls.key", True)]


@pytest.mark.parametrize(
    ("s1", "key"),
    [
        ('ids = { prefix = "53" }', 'server "s1".ids'),
        ('group = "a"', 'server "s1".group'),
    ],
)
def test_who_owns_what_is_a_matter_of_the_whole_farm(tmp_path: Path, s1: str, key: str) -> None:
    (change,) = changes(farm(tmp_path), farm(tmp_path, s1=s1))
    assert (change.key, change.needs) == (key, Needs.FARM)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ('[{ list_file = "l" }, { range = ["53", "54"] }]', "l, 53 to 54"),
        ('{ prefix = "00" }', "00 to 00"),
        ('{ prefix = "0102030405060708090a" }', "0102030405060708... to 0102030405060708..."),
        ('[{ list = ["01", "03"] }, { prefix = "70" }]', "list of 2, 70 to 70"),
        ('{ mask = "ff01", value = "5301" }', "mask ff01 value 5301"),
    ],
)
def test_ids_are_shown_in_short(tmp_path: Path, ids: str, words: str) -> None:
    (change,) = changes(farm(tmp_path), farm(tmp_path, s1=f"ids = {ids}"))
    assert str(change) == f'server "s1".ids: not set -> {words}'


def test_servers_that_come_go_or_change_places_are_named(tmp_path: Path) -> None:
    old = farm(tmp_path)
    assert [str(one) for one in changes(old, attrs.evolve(old, server=old.server[:1]))] == [
        'server "s2": unix:s2.sock -> removed'
    ]
    assert [str(one) for one in changes(attrs.evolve(old, server=old.server[1:]), old)] == [
        'server "s1": not there -> unix:s1.sock'
    ]
    assert [str(one) for one in changes(old, attrs.evolve(old, server=old.server[::-1]))] == [
        "the order of servers: s1, s2 -> s2, s1"
    ]


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    old = farm(tmp_path, '[session_ids]\nstore = "redis://:secret@localhost"')
    new = farm(tmp_path, '[session_ids]\nstore = "redis://:geheim@localhost"')
    (change,) = changes(old, new)
    assert str(change) == "session_ids.store: (not shown) -> (not shown)"


BY_HAND = '[farm]\nregistry = "none"\n'
WITH = '[farm]\nregistry = "sqlite:r"\n'
ETCD = '[farm]\nregistry = "etcd:http://localhost:1"\n'
AFTER = '[session_ids]\nspare = "50%"\nmoving = "drain"\n'


def test_with_a_registry_the_farm_moves_what_must_move_and_nothing_starts_again(
    tmp_path: Path,
) -> None:
    old = farm(tmp_path, WITH)
    more = BOTH.replace("unix:s2.sock", "tcp:10.0.0.5:1")
    more += '[[server]]\nname = "s3"\naddress = "unix:s3.sock"\n'
    s1 = 'share = "1%"\nweight = 2'
    new = farm(tmp_path, WITH + AFTER, s1, servers=more)
    assert {one.key: one.needs for one in changes(old, new)} == dict.fromkeys(
        [
            "session_ids.spare",
            "session_ids.moving",
            'server "s1".share',
            'server "s1".weight',
            'server "s2".address',
            'server "s3"',
        ],
        Needs.REGISTRY,
    )
    assert all(one.live for one in changes(old, new))
    assert {one.needs for one in changes(new, old)} == {Needs.REGISTRY}  # s3 is removed
    both = frozenset({Needs.NOTHING, Needs.REGISTRY})
    assert in_force(old, new, both) == new
    assert in_force(new, old, both) == old
    assert in_force(old, new) == old


def test_by_hand_or_with_another_registry_the_whole_farm_starts_again(tmp_path: Path) -> None:
    for before, after in ((BY_HAND, BY_HAND), (BY_HAND, WITH), (WITH, BY_HAND), (WITH, ETCD)):
        found = changes(farm(tmp_path, before), farm(tmp_path, after, 'share = "1%"'))
        assert {one.needs for one in found} == {Needs.FARM}


def test_by_hand_the_way_of_moving_needs_nothing_and_a_weight_the_balancer(
    tmp_path: Path,
) -> None:
    new = farm(tmp_path, BY_HAND + '[session_ids]\nmoving = "drain"\n', "weight = 2")
    found = changes(farm(tmp_path, BY_HAND), new)
    assert [one.needs for one in found] == [Needs.NOTHING, Needs.BALANCER]


def test_only_what_may_be_is_taken_into_force(tmp_path: Path) -> None:
    old = farm(tmp_path)
    text = '[balancer]\npolicy = "random"\nidle_timeout = 9\nlisten = ["tcp:1"]\n'
    new = farm(tmp_path, f'{text}[session_ids]\nspare = "50%"', 'app = "a:b"\nshare = "1%"')
    live = in_force(old, new)
    assert live == attrs.evolve(old, balancer=attrs.evolve(old.balancer, policy="random"))
    later = in_force(old, new, frozenset({Needs.NOTHING, Needs.BALANCER, Needs.SERVERS}))
    assert later.balancer == BalancerSection(policy="random", idle_timeout=9.0)
    assert [one.app for one in later.server] == ["a:b", None]
    assert (later.session_ids, later.server[0].share) == (old.session_ids, None)
    assert in_force(old, new, frozenset(Needs)).balancer == new.balancer
