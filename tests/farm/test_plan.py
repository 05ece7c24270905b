"""Who may give out what: balancer and servers work it out alone, each from the file, and agree."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from pathlib import Path
from secrets import randbelow

import pytest

from homing.farm.config.farm_toml import load
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.sections import FarmConfig
from homing.farm.plan import plan
from homing.shared.id_sets import IdList, IdRange, MandatoryBits, overlap
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.record import Record
from homing.shared.schemes import SCHEMES
from tests.assigning import first, free, owner, sets_of

ARENA = IdRange.of_prefix(b"HOME")


def farm(folder: Path, *servers: str, head: str = "") -> FarmConfig:
    """A farm of s1, s2, ... with these keys each."""
    path = folder / "farm.toml"
    tables = (
        f'[[server]]\nname = "s{number}"\naddress = "tcp:10.0.0.{number}:443"\n{keys}\n'
        for number, keys in enumerate(servers, 1)
    )
    path.write_text(head + "\n" + "".join(tables))
    return load(path)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_server_draws_alone_the_balancer_brings_back_to_it_and_nobody_else(
    tmp_path: Path, scheme: str
) -> None:
    head = f'[session_ids]\nscheme = "{scheme}"\ncache = 100\n'
    if scheme == "function":
        head += 'function = "homing.shared.schemes.example_function:by_third_byte"\n'
    own = 'ids = { prefix = "484f4d4501" }'  # in the middle of what some schemes would take
    config = farm(tmp_path, *4 * [""], f"managed = false\n{own}", head=head)
    names = [server.name for server in config.server if server.managed]
    # the servers first: whatever secret they need is there for the balancer too
    records = {name: plan(config, name).records[name] for name in names}
    table = plan(config).table
    seen = set()
    for name, record in records.items():
        for length in (LENGTH, KEY_NAME_LENGTH):
            for _ in range(20):
                identifier = record.draw(randbelow, free, length)
                assert len(identifier) == length
                assert identifier in record
                assert owner(table, identifier) == name
                assert not any(identifier in records[other] for other in names if other != name)
                seen.add(identifier)
    assert len(seen) > 4 * 30, "draws repeat themselves"
    assert owner(table, b"HOME\1" + bytes(27)) == "s5"


def test_balancer_and_server_have_the_very_same_records(tmp_path: Path) -> None:
    config = farm(tmp_path, 'share = "30%"', "max_ids = 1000", "", 'ids = { prefix = "53" }')
    records = plan(config).records
    assert list(records) == ["s1", "s2", "s3", "s4"]
    for name in records:
        assert plan(config, name).records == records
    entries = plan(config).table.entries
    assert [(entry.owner, (entry.part,)) for entry in entries] == [
        (name, record.parts) for name, record in records.items()
    ]


def test_records_do_not_depend_on_when_or_where_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(farm(tmp_path, "", "")).records
    monkeypatch.chdir(tmp_path)
    assert plan(load(Path("farm.toml"))).records == before


def test_servers_keep_the_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("61\n62\n")
    config = farm(
        tmp_path,
        'ids = { prefix = "53525641" }',
        'ids = { mask = "ff00ff", value = "540055" }',
        'managed = false\nids = { list_file = "own.txt" }',
        "",
    )
    records = plan(config).records
    assert records["s1"] == Record((IdRange.of_prefix(b"SRVA"),))
    assert records["s2"] == Record((MandatoryBits(b"\xff\0\xff", b"\x54\0\x55"),))
    assert records["s3"] == Record((IdList([b"\x61", b"\x62"]),))
    assert owner(plan(config).table, b"SRVA" + bytes(28)) == "s1"
    assert owner(plan(config).table, b"\x61" + bytes(31)) == "s3"


@pytest.mark.parametrize(
    "ids",
    [
        '{ prefix = "484f4d45" }',
        '{ prefix = "484f4d4500ff" }',
        '{ list = ["484f4d4501"] }',
        '{ mask = "ffffffff", value = "484f4d45" }',
        '{ range = ["00", "484f4d4500"] }',
    ],
)
@pytest.mark.parametrize("managed", ["true", "false"])
def test_assigned_ids_keep_clear_of_those_that_servers_bring(
    tmp_path: Path, ids: str, managed: str
) -> None:
    config = farm(tmp_path, f"managed = {managed}\nids = {ids}", "", "")
    sets = sets_of(plan(config).records)
    assert len(sets) == 3
    assert not any(overlap(one, other) for one, other in combinations(sets, 2))
    assert not any(overlap(ARENA, id_set) for id_set in sets[1:])


def test_short_prefixes_of_the_servers_own_leave_room_for_the_others(tmp_path: Path) -> None:
    records = plan(farm(tmp_path, 'ids = { prefix = "48" }', "")).records
    assert not overlap(*sets_of(records))


def test_servers_get_the_shares_they_ask_for_and_the_spare_stays_free(tmp_path: Path) -> None:
    head = '[session_ids]\nspare = "20%"'
    records = plan(
        farm(tmp_path, 'share = "50%"', "max_ids = 1_000_000", "", "", head=head)
    ).records
    count = {name: record.count() for name, record in records.items()}
    assignable = Fraction(8, 10) * ARENA.count()
    assert count["s1"] / assignable == pytest.approx(0.5)
    assert count["s2"] == 1_000_000
    assert count["s3"] == count["s4"]
    assert count["s3"] / assignable == pytest.approx(0.25)
    assert sum(count.values()) <= assignable
    for id_set in sets_of(records):
        assert overlap(id_set, ARENA), "outside of what is divided"


def test_even_parts_take_all_that_is_not_spare(tmp_path: Path) -> None:
    records = plan(farm(tmp_path, "", "", "", head='[session_ids]\nspare = "0%"')).records
    assert len({record.count() for record in records.values()}) == 1
    left = ARENA.count() - sum(record.count() for record in records.values())
    assert left / ARENA.count() < 1e-9


def test_the_default_server_gets_the_ids_that_nobody_owns_and_no_others(tmp_path: Path) -> None:
    unknown = b"\xee" * 32
    config = farm(tmp_path, "", "", head='[balancer]\ndefault_server = "s2"')
    table = plan(config).table
    assert owner(table, unknown) == "s2"
    assert table.find(unknown) is None
    assert owner(table, first(plan(config).records["s1"])) == "s1"
    assert owner(plan(farm(tmp_path, "", "")).table, unknown) is None


def test_a_server_that_is_not_ours_and_has_no_ids_owns_none(tmp_path: Path) -> None:
    result = plan(farm(tmp_path, "", "managed = false"))
    assert set(result.records) == {"s1"}
    assert {entry.owner for entry in result.table.entries} == {"s1"}


def test_a_farm_of_other_peoples_servers_alone_has_a_table(tmp_path: Path) -> None:
    result = plan(farm(tmp_path, *2 * ["managed = false"]))
    assert (result.records, result.table.entries) == ({}, ())


def test_no_server_gets_ids_when_more_is_asked_for_than_there_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r'"s2".*100%'):
        plan(farm(tmp_path, 'share = "60%"', 'share = "50%"'))
    with pytest.raises(InvalidConfig, match='"s2"'):
        plan(farm(tmp_path, 'share = "100%"', ""))
    with pytest.raises(InvalidConfig, match='"s1"'):
        plan(farm(tmp_path, f"max_ids = {1 << 225}"))


def test_a_group_has_one_record_only_where_any_of_its_servers_may_answer(tmp_path: Path) -> None:
    members = 2 * ['group = "g"']
    by_policy = plan(farm(tmp_path, *members, "", head='[balancer]\ngroup_choice = "policy"'))
    assert by_policy.records["s1"] == by_policy.records["s2"] != by_policy.records["s3"]
    assert [entry.owner for entry in by_policy.table.entries] == ["g", "s3"]
    assert by_policy.groups == {"g": ("s1", "s2")}
    by_issuer = plan(farm(tmp_path, *members, ""))
    assert len({record.parts for record in by_issuer.records.values()}) == 3
    assert by_issuer.groups == {"s1": ("s1", "s2"), "s2": ("s1", "s2")}
