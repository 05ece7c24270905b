"""The `homing` command as a user runs it: data on stdout, the rest on stderr, a true status."""

from __future__ import annotations

import json
import signal
import subprocess
from functools import partial
from pathlib import Path
from secrets import randbelow
from typing import Any

import pytest

from homing import __version__
from homing.farm.config.farm_toml import load
from homing.farm.plan import plan
from homing.farm.present import at_first_start
from homing.farm.processes.run import COMMAND, PROCESSES
from homing.shared.schemes import SCHEMES
from tests import processes
from tests.assigning import first
from tests.farm.commands.ran_here import Here, lines
from tests.processes import Ran, at_once, homing
from tests.reactor import eventually
from tests.sample_hellos import (
    ALPN,
    SAMPLES,
    SERVER_NAME,
    SUPPORTED_VERSIONS,
    Parts,
    Sample,
    sample,
    take_apart,
    vector,
    wire_of,
)

FARM = """
[[server]]
name = "s1"
address = "unix:s1.sock"

[[server]]
name = "s2"
address = "tcp:10.0.0.5:8443"
proxy_protocol = true

[[server]]
name = "legacy"
address = "tcp:10.0.0.6:8443"
managed = false
ids = { prefix = "53525641" }

[[server]]
name = "foreign"
address = "tcp:10.0.0.7:8443"
managed = false
"""
DEFAULT = '[balancer]\ndefault_server = "s2"\n' + FARM


@pytest.fixture(name="farm_toml")
def farm_toml_(tmp_path: Path) -> Path:
    """A farm.toml of four servers."""
    path = tmp_path / "farm.toml"
    path.write_text(FARM)
    return path


def first_of(path: Path, owner: str) -> str:
    """An identifier of a server, or a group, as the first start assigns it."""
    divided = at_first_start(load(path)).routes.table.divided
    assert divided is not None
    numbers = (number for number, one in enumerate(divided.entries) if one and one.owner == owner)
    return divided.cutting.cut(next(numbers)).nth(0).hex()


class TestCheck:
    def test_a_pipe_gets_table_130_whole_and_the_terminal_the_remarks(
        self, farm_toml: Path, tmp_path: Path
    ) -> None:
        ran = homing("check", "farm.toml", cwd=tmp_path)
        assert ran.status == 0
        rows = lines(ran)
        for name, address, way in (
            ("s1", "unix:s1.sock", "handed over"),
            ("s2", "tcp:10.0.0.5:8443", "relayed, PROXY v2"),
            ("legacy", "tcp:10.0.0.6:8443", "relayed, not ours"),
            ("foreign", "tcp:10.0.0.7:8443", "relayed, not ours"),
        ):
            assert [name, address, way] in [row[:3] for row in rows]
        words = [word for row in rows for word in row[3].split()]
        for entry in at_first_start(load(farm_toml)).routes.table.lines():
            assert set(entry.part.describe().split()) <= set(words)
        title = ran.out.splitlines()[0]
        assert title == "table 130 of farm.toml, as the first start will assign it"
        assert "53525641" + 56 * "0" in words
        assert "probability" in ran.err
        assert "probability" not in ran.out
        assert "default" not in ran.err

    def test_a_default_server_and_a_table_too_wide_deserve_a_remark(
        self, tmp_path: Path, here: Here
    ) -> None:
        (tmp_path / "farm.toml").write_text(DEFAULT.replace('"53525641"', '"53"'))
        ran = here("check", "farm.toml")
        assert ran.status == 0
        assert "s2 gets all identifiers that no entry lists" in ran.err
        assert "more than 2^-16" in ran.err

    def test_a_server_that_the_users_function_never_names_deserves_a_remark(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "own_function.py").write_text("def f(identifier):\n    return 's1'\n")
        servers = "".join(f'[[server]]\nname="s{n}"\naddress="unix:s{n}.sock"\n' for n in (1, 2))
        scheme = '[session_ids]\nscheme="function"\nfunction="own_function:f"\n'
        (tmp_path / "farm.toml").write_text(scheme + servers)
        ran = homing("check", "farm.toml", cwd=tmp_path)
        assert ran.status == 0
        assert "s2: the scheme function has no free identifier for s2" in ran.err
        assert "s1:" not in ran.err

    def test_a_server_with_several_sets_has_a_row_for_each(
        self, tmp_path: Path, here: Here
    ) -> None:
        ids = 'ids = [{ prefix = "53" }, { mask = "ff01", value = "6001" }, { list = ["61"] }]\n'
        server = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
        (tmp_path / "farm.toml").write_text(server + ids)
        rows = lines(here("check", "farm.toml"))
        assert [row[3].split()[0] for row in rows if row[0] == "s1"] == ["from", "bits", "list"]
        assert [row[4] for row in rows if row[0] == "s1"] == ["2^248.0", "2^247.0", "1"]

    def test_every_fault_is_a_line_on_stderr_and_stdout_stays_empty(self, tmp_path: Path) -> None:
        (tmp_path / "farm.toml").write_text('[balancer]\npolicy = "x"\n[[server]]\nname = "s1"\n')
        ran = homing("check", "farm.toml", cwd=tmp_path)
        assert (ran.status, ran.out) == (2, "")
        found = ran.err.splitlines()
        assert sorted(line.partition(" ")[2].partition(":")[0] for line in found) == [
            "balancer.policy",
            "server[1].address",
        ]
        assert all(line.startswith("farm.toml: ") for line in found)

    def test_ids_that_overlap_are_found_before_a_server_starts(
        self, tmp_path: Path, here: Here
    ) -> None:
        (tmp_path / "farm.toml").write_text(
            FARM.replace('name = "s1"', 'name = "s1"\nids = { list = ["53525641ab"] }')
        )
        ran = here("check", "farm.toml")
        assert (ran.status, ran.out) == (2, "")
        (fault,) = ran.err.splitlines()
        assert '"s1"' in fault
        assert '"legacy"' in fault
        assert "53525641ab" + 54 * "0" in fault

    def test_a_file_that_is_not_there_is_bad_input(self, here: Here) -> None:
        ran = here("check", "lost.toml")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err == "lost.toml: cannot be read: No such file or directory\n"

    @pytest.mark.parametrize("host", ["[fe80::1]", "gem"])
    def test_addresses_are_shown_as_they_are(self, tmp_path: Path, host: str, here: Here) -> None:
        address = f"tcp:{host}:8443"
        (tmp_path / "farm.toml").write_text(f'[[server]]\nname = "s1"\naddress = "{address}"\n')
        ran = here("check", "farm.toml")
        assert address in ran.out

    def test_an_empty_columns_variable_does_no_harm(self, farm_toml: Path) -> None:
        assert homing("check", farm_toml, cwd=farm_toml.parent, COLUMNS="").status == 0


def tree(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Everything below a folder: kind and mode, time of the last change, content."""
    return {
        path: (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *sorted(folder.rglob("*")))
    }


GROUPS = """
[[server]]
name = "s1"
group = "pair"
address = "unix:s1.sock"

[[server]]
name = "s2"
group = "pair"
address = "unix:s2.sock"

[[server]]
name = "s3"
address = "unix:s3.sock"
"""
KEYS = {"seeded": "homing-state/keys/s1.seed and 2 more", "keyed": "homing-state/keys/farm.key"}


class TestWhoOnlyLooks:
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_nothing_is_written_before_the_first_start(self, tmp_path: Path, scheme: str) -> None:
        (tmp_path / "own.py").write_text("def f(identifier):\n    return 's1'\n")
        function = 'function = "own:f"\n' if scheme == "function" else ""
        head = f'[session_ids]\nscheme = "{scheme}"\n{function}'
        (tmp_path / "farm.toml").write_text(head + GROUPS)
        before = tree(tmp_path)
        checked, explained = at_once(
            partial(homing, "check", "farm.toml", cwd=tmp_path),
            partial(homing, "explain", "--config", "farm.toml", "ab" * 32, cwd=tmp_path),
        )
        assert (checked.status, explained.status) == (0, 0)
        assert tree(tmp_path) == before
        for ran in (checked, explained):
            assert ("The first start will make" in ran.err) == (scheme in KEYS)
            assert KEYS.get(scheme, "") in ran.err

    @pytest.mark.parametrize("scheme", KEYS)
    def test_with_the_keys_of_a_farm_its_identifiers_are_explained_and_nothing_written(
        self, tmp_path: Path, scheme: str, here: Here
    ) -> None:
        path = tmp_path / "farm.toml"
        path.write_text(f'[session_ids]\nscheme = "{scheme}"\n{GROUPS}')
        plan(load(path))  # as the balancer does, which makes all keys
        identifier = plan(load(path), "s2").records["s2"].draw(randbelow, lambda one: False)
        before = tree(tmp_path)
        ran = here("explain", "-c", "farm.toml", identifier.hex())
        assert "forward to s2, " in ran.out
        assert ran.err == ""
        assert here("check", "farm.toml").status == 0
        assert tree(tmp_path) == before

    def test_keys_that_cannot_be_read_are_not_taken_for_missing(
        self, tmp_path: Path, here: Here
    ) -> None:
        (tmp_path / "farm.toml").write_text(f'[session_ids]\nscheme = "keyed"\n{GROUPS}')
        keys = tmp_path / "homing-state" / "keys"
        keys.mkdir(parents=True)
        (keys / "farm.key").symlink_to("farm.key")  # a loop: it cannot be read by root either
        ran = here("check", "farm.toml")
        assert (ran.status, ran.out) == (1, "")
        assert "farm.key" in ran.err


class TestGroups:
    @pytest.fixture(name="groups")
    def groups_(self, tmp_path: Path) -> Path:
        path = tmp_path / "farm.toml"
        path.write_text(GROUPS)
        return path

    def test_while_its_issuer_is_down_a_fellow_resumes_the_session(
        self, groups: Path, here: Here
    ) -> None:
        ran = here("explain", "--config", "farm.toml", first_of(groups, "s1"))
        assert ran.out.endswith(
            "214  forward to s1, at unix:s1.sock\n"
            "     while s1 is down, s2 of its group gets it and resumes its session\n"
            "     while all of s1, s2 are down, the policy chooses another server\n"
        )

    def test_who_is_in_no_group_has_no_fellow(self, groups: Path, here: Here) -> None:
        ran = here("explain", "--config", "farm.toml", first_of(groups, "s3"))
        assert ran.out.endswith("     while s3 is down, the policy chooses another server\n")
        assert "group" not in ran.out

    def test_a_group_that_the_policy_chooses_in_is_named(self, groups: Path, here: Here) -> None:
        groups.write_text('[balancer]\ngroup_choice = "policy"\n' + GROUPS)
        ran = here("explain", "--config", "farm.toml", first_of(groups, "pair"))
        assert ": an entry of the group pair\n" in ran.out
        assert ran.out.endswith(
            "214  forward to one of s1, s2, which share sessions: by round-robin\n"
            "     while all of s1, s2 are down, the policy chooses another server\n"
        )

    @pytest.mark.parametrize(
        ("choice", "said"),
        [("issuer", "to the one that issued its session"), ("policy", "the policy chooses one")],
    )
    def test_check_shows_who_shares_sessions(
        self, groups: Path, choice: str, said: str, here: Here
    ) -> None:
        groups.write_text(f'[balancer]\ngroup_choice = "{choice}"\n' + GROUPS)
        ran = here("check", "farm.toml")
        shown = {tuple(row[:2]) for row in lines(ran) if row[0]}
        assert shown == {("s1", "pair"), ("s2", "pair"), ("s3", "")}
        assert "s1, s2 share sessions as the group pair: " in ran.err
        assert said in ran.err

    def test_a_farm_without_groups_is_shown_without(self, farm_toml: Path, here: Here) -> None:
        ran = here("check", farm_toml.name)
        assert ran.status == 0
        assert "group" not in ran.said


class TestExplain:
    @pytest.fixture(name="explain")
    def explain_(self, farm_toml: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
        monkeypatch.chdir(farm_toml.parent)
        return partial(here, "explain", "--config", "farm.toml")

    def test_an_identifier_is_followed_to_its_owner(self, farm_toml: Path, explain: Here) -> None:
        identifier = first_of(farm_toml, "s2")
        ran = explain(identifier.upper())
        assert (ran.status, ran.err) == (0, "")
        steps = [line.split()[0] for line in ran.out.splitlines() if line[:1] != " "]
        assert steps == ["202", "204", "208", "212", "214"]
        where = "in table 130, as the first start will assign it"
        assert f"find session ID {identifier} {where}: an entry of s2\n     part 410\n" in ran.out
        assert "forward to s2, at tcp:10.0.0.5:8443\n" in ran.out

    def test_by_hand_the_plan_of_the_file_is_what_is_explained(
        self, farm_toml: Path, explain: Here
    ) -> None:
        farm_toml.write_text('[farm]\nregistry = "none"\n' + FARM)
        identifier = first(plan(load(farm_toml)).records["s2"]).hex()
        ran = explain(identifier)
        assert (ran.status, ran.err) == (0, "")
        assert f"find session ID {identifier} in table 130: an entry of s2\n" in ran.out
        assert "part " not in ran.out.partition("212")[2]
        assert "the policy round-robin chooses one of s1, s2, legacy, foreign\n" in (
            explain("ee" * 32).out
        )

    def test_a_short_identifier_is_found_as_the_balancer_would_find_it(self, explain: Here) -> None:
        assert "forward to legacy, " in explain("53525641").out

    def test_an_unknown_identifier_goes_where_the_policy_says(self, explain: Here) -> None:
        ran = explain("ee" * 32)
        assert ran.status == 0
        assert "no entry\n" in ran.out
        assert "the policy round-robin chooses one of foreign, legacy, s1, s2\n" in ran.out
        assert "forward to" not in ran.out

    def test_an_unknown_identifier_goes_to_the_default_server(
        self, farm_toml: Path, explain: Here
    ) -> None:
        farm_toml.write_text(DEFAULT)
        ran = explain("ee" * 32)
        assert ran.status == 0
        assert "forward to s2, the default server, at tcp:10.0.0.5:8443\n" in ran.out

    @pytest.mark.parametrize("identifier", ["xyz", "123", "", "00" * 33])
    def test_what_is_no_identifier_is_bad_input(self, identifier: str, explain: Here) -> None:
        ran = explain(identifier)
        assert (ran.status, ran.out) == (2, "")
        assert len(ran.err.splitlines()) == 1
        assert repr(identifier) in ran.err
        assert ran.err.startswith("homing explain: HEX: ")

    @pytest.mark.parametrize("each", SAMPLES, ids=lambda each: each.name)
    def test_every_recorded_hello_is_explained_by_what_it_brings(
        self, farm_toml: Path, each: Sample, here: Here
    ) -> None:
        hello = farm_toml.with_name("hello.bin")
        hello.write_bytes(each.wire)
        ran = here("explain", "--config", str(farm_toml), "--hello", str(hello))
        assert (ran.status, ran.err) == (0, "")
        assert f"the {each.length} bytes of {hello}" in ran.out
        session_id = take_apart(each.body).session_id.hex()
        assert (f"session ID {session_id}" in ran.out) == bool(session_id)
        assert ("PSK identity" in ran.out) == bool(each.psk)
        assert ("session ticket, key name" in ran.out) == bool(each.ticket)
        assert ("TLS 1.3" in ran.out) == each.tls13
        is_of_a_homing_farm = b"HOME" in each.wire
        assert ("the policy round-robin chooses" in ran.out) != is_of_a_homing_farm

    def test_what_a_users_function_does_wrong_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "own_function.py").write_text("def f(identifier):\n    return 's9'\n")
        server = '[[server]]\nname="s1"\naddress="unix:s1.sock"\n'
        scheme = '[session_ids]\nscheme="function"\nfunction="own_function:f"\n'
        (tmp_path / "farm.toml").write_text(scheme + server)
        ran = homing("explain", "--config", "farm.toml", "ab" * 32, cwd=tmp_path)
        assert ran.status == 0
        assert ran.err == (
            "homing: session_ids.function own_function:f returned 's9', which is no server\n"
        )

    def test_a_hello_is_followed_to_the_owner_of_what_it_brings(
        self, farm_toml: Path, tmp_path: Path, explain: Here
    ) -> None:
        hello = sample("openssl-resume-sid")
        session_id = take_apart(hello.body).session_id.hex()
        (tmp_path / "hello.bin").write_bytes(hello.wire)
        farm_toml.write_text(FARM.replace("53525641", session_id[:16]))
        ran = explain("--hello", "hello.bin")
        assert ran.status == 0
        assert f"session ID {session_id} in table 130, " in ran.out
        assert ": an entry of legacy\n" in ran.out
        assert "forward to legacy, at tcp:10.0.0.6:8443\n" in ran.out

    def test_what_is_no_hello_goes_where_the_policy_says_or_is_closed(
        self, farm_toml: Path, tmp_path: Path, explain: Here
    ) -> None:
        (tmp_path / "request").write_bytes(b"GET / HTTP/1.1\r\n\r\n")
        ran = explain("--hello", "request")
        assert ran.status == 0
        assert "No ClientHello" in ran.out
        assert "the policy round-robin chooses" in ran.out
        farm_toml.write_text('[balancer]\nnot_tls = "close"\n' + FARM)
        closed = explain("--hello", "request")
        assert closed.status == 0
        assert "closed" in closed.out
        assert "chooses" not in closed.out

    @pytest.mark.parametrize("length", [0, 4, 100, -1])
    def test_a_hello_that_is_cut_off_is_bad_input(
        self, tmp_path: Path, length: int, explain: Here
    ) -> None:
        (tmp_path / "hello.bin").write_bytes(sample("python-first").wire[:length])
        ran = explain("--hello", "hello.bin")
        assert (ran.status, ran.out) == (2, "")
        (fault,) = ran.err.splitlines()
        assert fault.startswith("homing explain: hello.bin: ")
        assert "cut off" in fault

    def test_a_hello_or_farm_toml_that_is_not_there_is_bad_input(
        self, explain: Here, here: Here
    ) -> None:
        lost_hello = explain("--hello", "lost.bin")
        lost_config = here("explain", "--config", "lost.toml", "00")
        for ran, name in ((lost_hello, "lost.bin"), (lost_config, "lost.toml")):
            assert (ran.status, ran.out) == (2, "")
            assert f"{name}: cannot be read: No such file" in ran.err

    def test_what_only_servers_read_is_said_even_where_it_is_malformed(
        self, tmp_path: Path, explain: Here
    ) -> None:
        protocols = (ALPN, vector(2, vector(1, b"h2") + vector(1, b"http/1.1")))
        broken_name, versions = (SERVER_NAME, b"\0\0"), (SUPPORTED_VERSIONS, b"\2\3\4")
        for extensions, said in (
            ((protocols, versions), "Yes: offers TLS 1.3 for h2, http/1.1\n"),
            (
                (broken_name, protocols),
                "Yes: offers TLS 1.2 (malformed: a server name is cut off) for h2, http/1.1\n",
            ),
        ):
            hello = Parts(session_id=b"s" * 32).having(*extensions)
            (tmp_path / "hello.bin").write_bytes(wire_of(hello))
            ran = explain("--hello", "hello.bin")
            assert ran.status == 0
            assert said in ran.out

    def test_a_hello_longer_than_the_balancer_reads_is_explained_so(
        self, farm_toml: Path, tmp_path: Path, explain: Here
    ) -> None:
        farm_toml.write_text("[balancer]\nmax_hello = 512\n" + FARM)
        (tmp_path / "hello.bin").write_bytes(sample("curl-resume-psk").wire)
        assert "No ClientHello" in explain("--hello", "hello.bin").out


class TestCerts:
    def test_demo_certificates_are_made_private_valid_and_only_once(self, tmp_path: Path) -> None:
        made = homing("certs", "new/demo", cwd=tmp_path)
        assert (made.status, made.err) == (0, "")
        files = [tmp_path / line for line in made.out.splitlines()]
        assert {path.name for path in files} == {
            *("ca.pem", "ca-key.pem", "server.pem", "server-key.pem")
        }
        content = {path: path.read_bytes() for path in files}
        for path, data in content.items():
            if b"PRIVATE KEY" in data:
                assert path.stat().st_mode & 0o777 == 0o600
        assert sum(b"PRIVATE KEY" in data for data in content.values()) == 2
        folder = tmp_path / "new" / "demo"
        for check in (
            ["-verify_hostname", "localhost"],
            ["-verify_ip", "127.0.0.1"],
            ["-verify_ip", "::1"],
        ):
            command = ["openssl", "verify", "-CAfile", "ca.pem", *check, "server.pem"]
            verified = subprocess.run(command, cwd=folder, capture_output=True, check=False)
            assert verified.returncode == 0, verified.stderr
        wrong = ["openssl", "verify", "-CAfile", "ca.pem", "-verify_hostname", "x", "server.pem"]
        assert subprocess.run(wrong, cwd=folder, capture_output=True, check=False).returncode != 0

        again = homing("certs", "new/demo", cwd=tmp_path)
        assert again == made
        assert {path: path.read_bytes() for path in files} == content

    def test_names_of_the_users_own_are_taken(self, tmp_path: Path, here: Here) -> None:
        ran = here("certs", ".", "--name", "farm.test", "--name", "10.0.0.1")
        assert ran.status == 0
        command = ["openssl", "x509", "-in", "server.pem", "-noout", "-ext", "subjectAltName"]
        shown = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
        assert b"DNS:farm.test, IP Address:10.0.0.1" in shown
        assert b"localhost" not in shown

    def test_a_folder_that_cannot_be_made_is_said(self, tmp_path: Path, here: Here) -> None:
        (tmp_path / "file").touch()
        ran = here("certs", "file/demo")
        assert (ran.status, ran.out) == (1, "")
        (fault,) = ran.err.splitlines()
        assert "file/demo" in fault

    @pytest.mark.parametrize("name", ["a b", ""])
    def test_a_name_that_is_none_is_bad_input(self, name: str, here: Here) -> None:
        ran = here("certs", "demo", "--name", name)
        assert ran.status == 2
        assert ran.err.startswith(f"homing certs: --name: {name!r}: no host name or address: ")

    def test_those_of_a_registry_are_made_and_what_goes_where_is_said(
        self, tmp_path: Path, here: Here
    ) -> None:
        command = ("certs", "reg", "--etcd", "--member", "e1=10.0.0.7,e1.test", "--member", "e2")
        ran = here(*command)
        assert ran.status == 0
        files = [tmp_path / line for line in ran.out.splitlines()]
        assert {path.name for path in files} == {
            f"{name}{kind}.pem"
            for name in ("registry-ca", "farm", "member-e1", "member-e2")
            for kind in ("", "-key")
        }
        for word in ("--cert-file member-e1.pem", "--peer-cert-allowed-cn", 'registry_ca = "'):
            assert word in ran.err
        for certificate in ("farm.pem", "member-e1.pem"):
            check = ["openssl", "verify", "-CAfile", "registry-ca.pem", certificate]
            assert subprocess.run(check, cwd=tmp_path / "reg", check=False).returncode == 0
        again = here(*command)
        assert (again.status, again.out) == (0, ran.out)

    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            (["--etcd", "--name", "x"], "--name: "),
            (["--member", "e1"], "--member: only with --etcd"),
            (["--etcd", "--member", "../e1"], "--member: '../e1' is not NAME"),
            (["--etcd", "--member", "e1", "--member", "e1=x"], "--member: a member is named twice"),
            (["--etcd", "--member", "e1=a b"], "--member: 'a b' is neither"),
            (["--etcd", "--member", "e1="], "--member: "),
        ],
    )
    def test_members_that_are_none_are_bad_input(
        self, options: list[str], fault: str, here: Here
    ) -> None:
        ran = here("certs", "reg", *options)
        assert ran.status == 2
        assert ran.err.startswith(f"homing certs: {fault}")

    @pytest.mark.parametrize("folder", ["demo[a]", "demo[/a]/b"])
    def test_paths_are_shown_as_they_are(self, tmp_path: Path, folder: str, here: Here) -> None:
        ran = here("certs", folder)
        assert ran.status == 0
        assert all((tmp_path / line).exists() for line in ran.out.splitlines())


class TestUsage:
    @pytest.mark.parametrize("words", ["", " check", " explain", " certs", " bench hit-rate"])
    def test_every_command_has_help_with_an_example(self, words: str, here: Here) -> None:
        ran = here(*words.split(), "--help")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith(f"usage: homing{words} ")
        if words:
            assert f"  homing{words} " in ran.out.partition("example:\n")[2]

    def test_processes_are_listed_with_the_commands_and_the_version_is_said(
        self, here: Here
    ) -> None:
        assert all(f"    {name} " in here("--help").out for name in PROCESSES)
        assert here("--version").out == f"homing {__version__}\n"

    def test_the_help_of_bench_has_an_example_too(self, here: Here) -> None:
        assert "homing bench hit-rate -" in here("bench", "--help").out

    @pytest.mark.parametrize(
        "words",
        [
            *("", "bogus", "check", "check a b", "explain 00", "explain --config farm.toml"),
            *("explain --config farm.toml 00 --hello x", "certs", "bench"),
            *("bench hit-rate --clients 0", "bench hit-rate --rounds x"),
            "bench hit-rate --servers 257",
            *("bench hit-rate --tls 1.1", "bench hit-rate --scheme bogus"),
        ],
    )
    def test_bad_usage_is_told_from_failure(self, words: str, here: Here) -> None:
        ran = here(*words.split())
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith("usage: homing")

    @pytest.mark.parametrize("words", ["check farm.toml", "explain --config farm.toml 00"])
    def test_a_full_disk_is_a_failure_in_one_line(self, farm_toml: Path, words: str) -> None:
        full = ("sh", "-c", 'exec "$@" >/dev/full', "sh", *COMMAND, *words.split())
        said = processes.ran(*full, cwd=farm_toml.parent)
        assert (said.status, said.err) == (1, "homing: No space left on device\n")

    def test_a_process_ends_with_the_status_of_its_command(self, tmp_path: Path) -> None:
        assert [
            ran.status
            for ran in at_once(
                partial(homing, "--help", cwd=tmp_path), partial(homing, "bogus", cwd=tmp_path)
            )
        ] == [0, 2]


class TestHitRate:
    def test_every_client_resumes_and_the_numbers_say_so(self, tmp_path: Path) -> None:
        numbers = ("--clients", "3", "--rounds", "1", "--servers", "2", "--tls", "1.3", "--json")
        bench = partial(homing, "bench", "hit-rate", *numbers, cwd=tmp_path)
        relay, hand_off = at_once(partial(bench, "relay", "--relay"), partial(bench, "hand-off"))
        for plane, ran in (("relay", relay), ("hand-off", hand_off)):
            self.check(plane, ran, json.loads((tmp_path / plane).read_text()))

    def check(self, plane: str, ran: Ran, data: dict[str, Any]) -> None:
        """What three clients say that came back once."""
        assert ran.status == 0
        assert (data["clients"], data["rounds"]) == (3, 1)
        with_table, without = data["results"]
        assert (with_table["connections"], with_table["resumed"]) == (3, 3)
        assert with_table["hit_rate"] == 100.0
        assert with_table["first_visits"] == 3
        assert with_table["servers"] == ["s1", "s2"]
        assert with_table["plane"] == plane
        assert with_table["tls"] == "1.3"
        assert without["balancer"] != with_table["balancer"]
        assert without["connections"] == 3
        assert without["hit_rate"] == round(100 * without["resumed"] / 3, 2)
        rows = lines(ran)
        assert [row[0] for row in rows] == [with_table["balancer"], without["balancer"]]
        assert {"TLS 1.3", "3", "100.0 %"} <= set(rows[0])
        title = ran.out.splitlines()[0]
        assert title.startswith(f"scheme: range; plane: {plane}; first visits: 3; connections: 3")

    def test_one_that_is_stopped_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "tmp"
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        command = (*COMMAND, "bench", "hit-rate", "--servers", "2", "--clients", "99")
        with processes.process(*command, cwd=tmp_path) as one:
            eventually(lambda: any(folder.glob("*/*.session")))
            (state,) = (path.parent for path in folder.glob("*/farm.json"))
            pid = json.loads((state / "farm.json").read_text())["pid"]
            one.terminate()
            assert one.wait(20) == 128 + signal.SIGTERM
        assert not list(folder.iterdir())
        assert not processes.is_alive(pid)

    def test_nobody_there_is_a_failure_in_one_line(self, here: Here) -> None:
        ran = here("bench", "hit-rate", "--connect", "127.0.0.1:1")
        assert (ran.status, ran.out) == (1, "")
        assert len(ran.err.strip().splitlines()) == 1
        assert ran.err.strip().startswith("homing: ")

    @pytest.mark.parametrize(
        ("ca", "why"),
        [
            ("/nonexist", "cannot be read: No such file or directory"),
            ("empty.pem", "is not a file of certificates in PEM"),
        ],
    )
    def test_a_ca_that_cannot_be_used_is_named_before_the_work(
        self, here: Here, tmp_path: Path, ca: str, why: str
    ) -> None:
        (tmp_path / "empty.pem").touch()
        ran = here("bench", "hit-rate", "--connect", "127.0.0.1:1", "--ca", ca)
        assert (ran.status, ran.out, ran.err) == (2, "", f"homing bench hit-rate: {ca}: {why}\n")

    def test_a_ca_for_a_farm_of_its_own_is_refused_and_not_ignored(self, here: Here) -> None:
        ran = here("bench", "hit-rate", "--ca", "ca.pem")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith("homing bench hit-rate: --ca: is for --connect")

    def test_a_json_file_that_cannot_be_written_is_said_before_the_work(self, here: Here) -> None:
        nobody = ("--connect", "127.0.0.1:1")  # never asked: the file comes first
        ran = here("bench", "hit-rate", *nobody, "--json", "lost/out.json")
        assert ran.status in (1, 2)
        assert "Traceback" not in ran.err
        assert "lost/out.json" in ran.err
