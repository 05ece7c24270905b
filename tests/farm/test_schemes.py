"""Schemes of farm.toml: each process reads what it needs of the secrets, and all agree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import randbelow
from textwrap import dedent

import pytest
from twisted.internet import reactor

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Reason, Rules, decide
from homing.farm import assemble
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.keys import Keys
from homing.farm.config.sections import FarmConfig
from homing.farm.plan import plan
from homing.shared.candidates import Candidate, Carrier
from homing.shared.client_hello import ClientHello
from homing.shared.errors import NoFreeIdentifier
from homing.shared.schemes import SCHEMES
from tests.assigning import free, members, owner
from tests.logs import log

NAMES = ("s1", "s2", "s3", "s4")
SECRET = ("seeded", "keyed")


def farm(
    folder: Path,
    scheme: str,
    names: tuple[str, ...] = NAMES,
    function: str = "homing.shared.schemes.example_function:by_third_byte",
    group_choice: str | None = None,
) -> FarmConfig:
    """A farm of these servers; all in one group where it is said how that chooses."""
    head = '[farm]\nregistry = "none"\n'
    head += f'[session_ids]\nscheme = "{scheme}"\ncache = 100\n'
    if scheme == "function":
        head += f'function = "{function}"\n'
    if group_choice:
        head += f'[balancer]\ngroup_choice = "{group_choice}"\n'
    group = 'group = "all"\n' if group_choice else ""
    servers = (
        f'[[server]]\nname = "{name}"\naddress = "unix:{name}.sock"\n{group}' for name in names
    )
    path = folder / "farm.toml"
    path.write_text(head + "".join(servers))
    return load(path)


def draw(config: FarmConfig, server: str, length: int = 32) -> bytes:
    """What a server of the farm draws, from a plan of its own."""
    return plan(config, server).records[server].draw(randbelow, free, length)


class TestEveryScheme:
    @pytest.mark.parametrize("scheme", SCHEMES)
    @pytest.mark.parametrize("choice", ["issuer", "policy"])
    def test_servers_of_a_group_know_each_others_identifiers(
        self, scheme: str, choice: str, tmp_path: Path
    ) -> None:
        names = ("s1", "s2")
        if scheme == "function" and choice == "policy":
            (tmp_path / "for_groups.py").write_text("def everything(identifier):\n return 'all'\n")
            sys.path.insert(0, str(tmp_path))
        try:
            config = farm(
                tmp_path,
                scheme,
                names,
                group_choice=choice,
                function="for_groups:everything"
                if choice == "policy"
                else "homing.shared.schemes.example_function:by_third_byte",
            )
            identifier = draw(config, "s1")
            records = plan(config, "s2").records
        finally:
            sys.path[:] = [one for one in sys.path if one != str(tmp_path)]
        assert any(identifier in records[name] for name in names)
        balancer = plan(config)
        expected = "s1" if choice == "issuer" else "all"
        assert owner(balancer.table, identifier) == expected
        assert balancer.groups[expected] == names

    @pytest.mark.parametrize("scheme", ["hash", "seeded", "keyed", "function"])
    def test_a_random_id_of_a_first_visit_rarely_has_an_owner(
        self, scheme: str, tmp_path: Path
    ) -> None:
        table = plan(farm(tmp_path, scheme)).table
        hits = sum(
            owner(table, randbelow(1 << 256).to_bytes(32, "big")) is not None for _ in range(2000)
        )
        assert hits == 2000 if scheme == "hash" else hits <= 2
        assert hits == 0 or scheme not in SECRET


class TestSecrets:
    def keys(self, config: FarmConfig) -> Path:
        return config.state_dir / "keys"

    @pytest.mark.parametrize("scheme", [one for one in SCHEMES if one not in SECRET])
    def test_a_scheme_without_secrets_makes_none(self, scheme: str, tmp_path: Path) -> None:
        config = farm(tmp_path, scheme)
        draw(config, "s1")
        plan(config)
        assert not self.keys(config).exists()

    def test_a_server_reads_no_seed_but_its_own(self, tmp_path: Path) -> None:
        config = farm(tmp_path, "seeded")
        plan(config)
        for other in ("s1", "s3", "s4"):
            (self.keys(config) / f"{other}.seed").unlink()
        identifier = draw(config, "s2")
        assert [one.name for one in self.keys(config).iterdir()] == ["s2.seed"]
        assert owner(plan(config).table, identifier) == "s2"

    def test_a_server_of_a_group_reads_the_seeds_of_its_group_only(self, tmp_path: Path) -> None:
        path = tmp_path / "farm.toml"
        config = farm(tmp_path, "seeded", ("s1", "s2"), group_choice="issuer")
        path.write_text(path.read_text() + '[[server]]\nname = "s3"\naddress = "unix:s3.sock"\n')
        config = load(path)
        draw(config, "s1")
        assert sorted(one.name for one in self.keys(config).iterdir()) == ["s1.seed", "s2.seed"]

    @pytest.mark.parametrize("scheme", SECRET)
    def test_a_plan_that_is_logged_tells_no_secret(self, scheme: str, tmp_path: Path) -> None:
        config = farm(tmp_path, scheme)
        told = repr(plan(config)) + repr(plan(config, "s1"))
        secrets = [
            line
            for path in self.keys(config).iterdir()
            if path.suffix in (".seed", ".key")
            for line in path.read_text().split()
        ]
        assert secrets
        for secret in secrets:
            assert secret[:16] not in told
            assert repr(bytes.fromhex(secret))[2:20] not in told


class TestKeyed:
    def test_a_farm_of_another_key_owns_nothing_of_ours(self, tmp_path: Path) -> None:
        folders = [tmp_path / name for name in ("one", "other")]
        for folder in folders:
            folder.mkdir()
        identifier = draw(farm(folders[0], "keyed"), "s1")
        assert owner(plan(farm(folders[1], "keyed")).table, identifier) is None

    def test_a_group_fetches_sessions_under_the_new_key_too(self, tmp_path: Path) -> None:
        """Else `homing rotate-key` costs a group what it is there for."""
        config = farm(tmp_path, "keyed", ("s1", "s2"), group_choice="issuer")
        server = assemble.server(reactor, config, "s2")  # type: ignore[arg-type]
        watch = assemble.keep_up(config, server)
        group = server.group
        assert watch is not None
        assert group is not None
        keys = Keys(config.state_dir / "keys")
        for change in (lambda: None, keys.announce_farm_key, keys.use_announced_farm_key):
            change()
            watch._apply()
            identifier = draw(config, "s1")
            candidate = Candidate(Carrier.SESSION_ID, identifier, identifier)
            assert group.wanted([candidate]) == [candidate]


Module = Callable[[str], str]


@pytest.fixture(name="module")
def module_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Writes a module of the user's own beside farm.toml, and says what it is called."""
    monkeypatch.chdir(tmp_path)
    path, known = list(sys.path), set(sys.modules)
    name = f"users_own_{tmp_path.name.replace('-', '_')}"

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(dedent(text))
        return name

    yield write
    sys.path[:] = path
    for one in set(sys.modules) - known:
        del sys.modules[one]


class TestFunction:
    def test_one_beside_farm_toml_is_found_and_used_by_both_sides(
        self, module: Module, tmp_path: Path
    ) -> None:
        name = module("def by_last_byte(identifier):\n    return f's{identifier[15] % 4 + 1}'\n")
        config = farm(tmp_path, "function", function=f"{name}:by_last_byte")
        identifier = draw(config, "s3")
        assert identifier[15] % 4 == 2
        assert owner(plan(config).table, identifier) == "s3"

    @pytest.mark.parametrize(
        ("text", "attribute", "said"),
        [
            (None, "f", "No module named"),
            ("x = 1", "f", "has no attribute 'f'"),
            ("f = 5", "f", "cannot be called"),
            ("def f(:", "f", "SyntaxError"),
            ("import no_such_module_here", "f", "no_such_module_here"),
            ("raise RuntimeError('database is gone')", "f", "RuntimeError: database is gone"),
        ],
    )
    def test_one_that_cannot_be_had_is_named_with_the_reason(
        self, text: str | None, attribute: str, said: str, module: Module, tmp_path: Path
    ) -> None:
        name = module(text) if text is not None else "no_such_package.of_mine"
        config = farm(tmp_path, "function", function=f"{name}:{attribute}")
        for drawing in (None, "s1"):
            with pytest.raises(InvalidConfig) as refused:
                plan(config, drawing)
            assert f"{name}:{attribute}" in str(refused.value)
            assert said in str(refused.value)
            assert str(config.path) in str(refused.value)

    @pytest.mark.parametrize(
        "name", ["", "module", "module:", ":f", "homing.shared.schemes.example_function.f"]
    )
    def test_what_is_no_name_of_a_function_is_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match=r"package\.module:callable"):
            plan(farm(tmp_path, "function", function=name))

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("raise LookupError('no row')", "raised LookupError: no row"),
            ("return 's9'", "returned 's9', which is no server"),
            ("return 7", "returned 7, which is no server"),
            ("return ['s1']", "returned ['s1'], which is no server"),
        ],
    )
    def test_one_that_is_wrong_about_hellos_is_named_once_and_they_go_by_the_policy(
        self, body: str, said: str, module: Module, tmp_path: Path
    ) -> None:
        name = module(f"def f(identifier):\n    {body}\n")
        with log() as lines:
            rules = Rules(
                plan(farm(tmp_path, "function", function=f"{name}:f")).table, RoundRobin()
            )
            for number in range(50):
                hello = ClientHello(0x0303, bytes([number]) * 32, (), None)
                assert decide(rules, hello, NAMES, "a").reason is Reason.UNLISTED
        assert lines == [f"session_ids.function {name}:f {said}"]

    def test_one_that_complains_differently_each_time_does_not_fill_the_disk(
        self, module: Module, tmp_path: Path
    ) -> None:
        name = module("def f(identifier):\n    raise ValueError(identifier.hex())\n")
        with log() as lines:
            table = plan(farm(tmp_path, "function", function=f"{name}:f")).table
            for number in range(1000):
                assert owner(table, number.to_bytes(16, "big")) is None
        assert 1 <= len(lines) <= 100

    @pytest.mark.parametrize("body", ["raise LookupError('no row')", "return None", "return 's9'"])
    def test_a_server_that_it_never_names_says_so_and_serves_without_resumption(
        self, body: str, module: Module, tmp_path: Path
    ) -> None:
        name = module(f"def f(identifier):\n    {body}\n")
        config = farm(tmp_path, "function", ("s1",), function=f"{name}:f")
        with pytest.raises(NoFreeIdentifier):
            draw(config, "s1")
        with log() as lines:
            server = assemble.server(reactor, config, "s1")  # type: ignore[arg-type]
        said = [line for line in lines if line.startswith("no identifier can be drawn; clients")]
        assert ["the scheme function has no free identifier for s1" in line for line in said] == [
            True
        ]
        with pytest.raises(NoFreeIdentifier):
            server.issuer.key_name()


def test_servers_of_a_group_never_give_out_the_same_identifier_of_a_list(tmp_path: Path) -> None:
    """Else a client of one could not even shake hands with the other."""
    config = farm(tmp_path, "list", ("s1", "s2"), group_choice="policy")
    result = plan(config)
    one, other = (set(members(result.records[name])) for name in ("s1", "s2"))
    assert len(one) == len(other) == 2 * config.session_ids.cache
    assert not one & other
    assert {owner(result.table, identifier) for identifier in one | other} == {"all"}
