"""An edited farm.toml leads to the same moves as a command, and undoes none of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from homing.farm.config.farm_toml import load
from homing.farm.config.sections import FarmConfig
from homing.farm.processes.inherited import with_lists
from homing.farm.wishes import changes, transactions
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import FarmValue, ServerFacts, ServerState, Wish
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdList, IdRange
from homing.shared.moves import Way
from homing.shared.registry.memory import MemoryRegistry

S1 = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
S2 = '[[server]]\nname = "s2"\naddress = "tcp:10.0.0.5:8443"\nproxy_protocol = true\n'

Read = Callable[[str], FarmConfig]


@pytest.fixture(name="read")
def read_(tmp_path: Path) -> Read:
    """Loads a farm.toml with that text."""

    def read(text: str) -> FarmConfig:
        path = tmp_path / "farm.toml"
        path.write_text(text)
        return with_lists(load(path))

    return read


class Registered:
    """A registry that farm.toml is taken over into."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry(lambda: 0.0)
        self.view = View()

    def take(self, config: FarmConfig) -> list[str]:
        """Take a file over; returns the keys that changed."""
        found = list(transactions(config, self.view))
        for one in found:
            assert self.registry.commit(one) is not None
        self.view.apply(self.registry.read())
        return [key for one in found for key in one.puts]

    def put(self, key: str, value: object | None) -> None:
        assert self.registry.commit(self.view.change({key: value})) is not None
        self.view.apply(self.registry.read())

    def wish(self, name: str) -> Wish:
        return self.view.wishes[name].value


@pytest.fixture(name="there")
def there_() -> Registered:
    return Registered()


def test_the_first_balancer_says_what_the_farm_is(read: Read, there: Registered) -> None:
    text = '[session_ids]\nspare = "10%"\nmoving = "drain"\nlifetime = 300\nresumption = "ids"\n'
    assert there.take(read(text + S1 + "weight = 2\n" + S2)) == ["farm", "wishes/s1", "wishes/s2"]
    farm = FarmValue("range", "484f4d45", 10, 0.1, Way.DRAIN, 300, "ids")
    assert there.view.farm == farm
    facts = ServerFacts("tcp:10.0.0.5:8443", proxy_protocol=True)
    wish = there.wish("s2")
    assert attrs.evolve(wish, digest="") == Wish(facts, source="farm.toml")
    assert there.wish("s1").weight == 2.0


def test_a_file_that_was_taken_over_changes_nothing_again(read: Read, there: Registered) -> None:
    config = read(S1 + S2)
    there.take(config)
    assert there.take(config) == []
    assert there.take(read("# the same\n" + S1 + S2)) == []


def test_a_command_is_not_undone_by_the_file(read: Read, there: Registered) -> None:
    config = read(S1 + S2)
    there.take(config)
    wish = attrs.evolve(there.wish("s1"), state=ServerState.DRAINING, share=0.1)
    there.put(keys.wish("s1"), wish)
    assert there.take(config) == []


def test_a_section_that_changes_counts_and_a_drain_goes_on(read: Read, there: Registered) -> None:
    there.take(read(S1 + S2))
    for name in ("s1", "s2"):
        wish = attrs.evolve(there.wish(name), state=ServerState.DRAINING, how=Way.DRAIN, sessions=9)
        there.put(keys.wish(name), wish)
    assert there.take(read(S1 + 'share = "10%"\n' + S2)) == ["wishes/s1"]
    wish = there.wish("s1")
    assert (wish.share, wish.state, wish.how) == (0.1, ServerState.DRAINING, Way.DRAIN)
    assert wish.sessions == 9


def test_a_server_that_vanishes_from_the_file_leaves_and_can_come_back(
    read: Read, there: Registered
) -> None:
    both = read(S1 + S2)
    there.take(both)
    assert there.take(read(S1)) == ["wishes/s2"]
    gone = there.wish("s2")
    assert (gone.state, gone.source) == (ServerState.REMOVED, "command")
    assert there.take(read(S1)) == []
    assert there.take(both) == ["wishes/s2"]
    assert (there.wish("s2").state, there.wish("s2").source) == (ServerState.ACTIVE, "farm.toml")


def test_a_server_of_a_command_or_that_came_by_itself_stays(read: Read, there: Registered) -> None:
    for source in ("command", "itself"):
        there.put(keys.wish(source), Wish(ServerFacts("unix:x.sock"), source=source))
    there.take(read(S1))
    assert all(there.wish(one).state is ServerState.ACTIVE for one in ("command", "itself"))


def test_a_server_that_was_removed_stays_so_until_its_section_changes(
    read: Read, there: Registered
) -> None:
    there.take(read(S1 + S2))
    there.put(keys.wish("s2"), attrs.evolve(there.wish("s2"), state=ServerState.REMOVED))
    assert there.take(read(S1 + S2)) == []
    assert there.take(read(S1 + S2 + "weight = 3\n")) == ["wishes/s2"]
    assert there.wish("s2").state is ServerState.ACTIVE


def test_a_section_takes_over_a_server_that_a_command_added(read: Read, there: Registered) -> None:
    there.put(keys.wish("s2"), Wish(ServerFacts("unix:s2.sock"), source="command"))
    there.take(read(S1 + S2))
    assert there.wish("s2").facts.address == "tcp:10.0.0.5:8443"
    assert there.wish("s2").source == "farm.toml"


def test_the_division_of_a_running_farm_stays_whoever_comes(read: Read, there: Registered) -> None:
    there.take(read(S1))
    many = "".join(f'[[server]]\nname="t{i}"\naddress="unix:t{i}.sock"\n' for i in range(40))
    own = S2 + 'ids = { prefix = "484f4d45" }\n'
    text = '[session_ids]\nspare = "30%"\nmoving = "scheduled"\nlifetime = 60\n'
    there.take(read(text + S1 + own + many))
    farm = there.view.farm
    assert farm is not None
    assert (farm.prefix, farm.bits) == ("484f4d45", 10)
    assert (farm.spare, farm.moving, farm.lifetime) == (0.3, Way.SCHEDULED, 60)


def test_a_large_farm_has_parts_enough_and_none_of_others(read: Read, there: Registered) -> None:
    many = "".join(f'[[server]]\nname="t{i}"\naddress="unix:t{i}.sock"\n' for i in range(40))
    there.take(read(S2 + 'ids = { prefix = "484f4d45" }\n' + many))
    farm = there.view.farm
    assert farm is not None
    assert (farm.prefix, farm.bits) == ("484f4d46", 12)


def test_a_scheme_by_function_has_no_parts(read: Read, there: Registered) -> None:
    config = read('[session_ids]\nscheme = "keyed"\n' + S1)
    farm = changes(config, there.view, "f00d")[keys.FARM]
    assert farm == FarmValue("keyed", fingerprint="f00d")


def test_another_scheme_than_the_farms_is_refused_with_what_to_do(
    read: Read, there: Registered
) -> None:
    there.take(read(S1))
    with pytest.raises(HomingError) as caught:
        there.take(read('[session_ids]\nscheme = "hash"\n' + S1))
    assert 'is "hash", but the farm runs by "range"' in str(caught.value)
    assert "start the whole farm again" in str(caught.value)


def test_ids_are_taken_over_with_the_content_of_their_files(
    read: Read, there: Registered, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text("5301\n")
    ids = '[{ prefix = "54" }, { list_file = "ids.txt" }]'
    there.take(read(f"{S1}ids = {ids}\n"))
    assert there.wish("s1").facts.ids == (IdRange.of_prefix(b"\x54"), IdList([b"\x53\x01"]))


def test_more_ids_than_the_registry_takes_are_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("".join(f"53{number:06x}\n" for number in range(8000)))
    config = read(S1 + 'ids = { list_file = "ids.txt" }\n')
    with pytest.raises(HomingError, match=r'server "s1": ids: .* more than the registry takes'):
        changes(config, View())
