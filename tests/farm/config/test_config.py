"""farm.toml: what is right means what it says, what is wrong is said, once and all."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.farm.assemble import tls_options
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.sections import FarmConfig
from homing.farm.config.values import Address
from homing.farm.plan import plan
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits
from tests.assigning import owner

EXAMPLE_FARM = """
[farm]
state_dir = "homing-state"          # relative to this file

[balancer]
listen = ["tcp:8443:interface=127.0.0.1"]
policy = "round-robin"               # for hellos without an ID
default_server = "s1"                # optional: gets IDs that no entry lists

[session_ids]
scheme = "range"                     # how IDs are assigned when a server has no ids of its own
spare = "20%"                        # kept unassigned

[tls]                                # optional
certificate = "fullchain.pem"
key = "key.pem"

[[server]]
name = "s1"
address = "unix:s1.sock"             # same machine: the connection itself is handed over
share = "30%"                        # optional; or max_ids = 1_000_000; default: an even part

[[server]]
name = "s2"
address = "tcp:10.0.0.5:8443"        # anywhere: the balancer relays
proxy_protocol = true                # optional: send the client's address (PROXY protocol v2)

[[server]]
name = "legacy"
address = "tcp:10.0.0.6:8443"
managed = false                      # a TLS server that is not ours but keeps to these IDs,
ids = { prefix = "53525641" }        # e.g. openssl s_server -id_prefix SRVA
"""
SERVER = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
OTHER = '[[server]]\nname = "s2"\naddress = "tcp:10.0.0.5:8443"\n'
LEGACY = '[[server]]\nname = "s3"\naddress = "tcp:10.0.0.6:8443"\nmanaged = false\n'

Read = Callable[[str], FarmConfig]
Faults = Callable[[str], list[str]]


@pytest.fixture(name="read")
def read_(tmp_path: Path) -> Read:
    """Loads a farm.toml with that text."""

    def read(text: str) -> FarmConfig:
        path = tmp_path / "farm.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


@pytest.fixture(name="faults")
def faults_(tmp_path: Path, read: Read) -> Faults:
    """What is wrong with a farm.toml with that text, by itself or as a plan, without the path."""

    def faults(text: str) -> list[str]:
        with pytest.raises(InvalidConfig) as caught:
            plan(read(text))
        messages = caught.value.messages
        assert str(caught.value).splitlines() == list(messages), "a message is not one line"
        path = f"{tmp_path / 'farm.toml'}: "
        assert all(message.startswith(path) for message in messages)
        return [message.removeprefix(path) for message in messages]

    return faults


class TestWhatIsRight:
    def test_the_example_means_what_it_says(self, read: Read, tmp_path: Path) -> None:
        config = read(EXAMPLE_FARM)
        assert config.state_dir == tmp_path / "homing-state"
        assert [one.description for one in config.balancer.listen] == [
            "tcp:8443:interface=127.0.0.1"
        ]
        assert config.balancer.policy == "round-robin"
        assert config.balancer.default_server == "s1"
        assert config.session_ids.scheme == "range"
        assert config.session_ids.spare.part == Fraction(1, 5)
        assert (config.tls.certificate, config.tls.key) == ("fullchain.pem", "key.pem")
        s1, s2, legacy = config.server
        assert (s1.name, s2.name, legacy.name) == ("s1", "s2", "legacy")
        assert config.socket_path(s1.address) == tmp_path / "homing-state" / "s1.sock"
        assert s1.share is not None
        assert s1.share.part == Fraction(3, 10)
        assert (s1.managed, s1.proxy_protocol, s1.ids, s1.max_ids) == (True, False, None, None)
        assert s2.address == Address(host="10.0.0.5", port=8443)
        assert (s2.managed, s2.proxy_protocol, s2.share) == (True, True, None)
        assert not legacy.managed
        assert legacy.ids is not None
        assert legacy.ids.sets == (IdRange.of_prefix(b"SRVA"),)

    def test_a_file_of_one_server_gets_every_default(self, read: Read, tmp_path: Path) -> None:
        config = read(SERVER)
        assert config.state_dir == tmp_path / "homing-state"
        assert (config.farm.log_connections, config.balancer.log_decisions) == (False, False)
        assert [one.description for one in config.balancer.listen] == [
            "tcp:8443:interface=127.0.0.1"
        ]
        assert config.balancer.policy == "round-robin"
        assert config.balancer.default_server is None
        assert config.session_ids.scheme == "range"
        assert config.session_ids.spare.part == Fraction(1, 5)
        assert (config.tls.certificate, config.tls.key) == (None, None)

    @pytest.mark.parametrize(
        "policy", ["round-robin", "least-connections", "source-hash", "random"]
    )
    def test_every_policy_can_be_chosen(self, read: Read, policy: str) -> None:
        assert read(f'[balancer]\npolicy = "{policy}"\n{SERVER}').balancer.policy == policy

    def test_trusted_proxies_are_addresses_and_networks(self, read: Read) -> None:
        trusted = '["10.0.0.0/8", "192.0.2.1", "::1", "2001:db8::/32"]'
        text = f"{OTHER}proxy_protocol = true\nproxy_protocol_from = {trusted}\n"
        found = read(text).server[0].proxy_protocol_from
        assert found is not None
        assert [str(one.network) for one in found] == [
            *("10.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::/32")
        ]

    @pytest.mark.parametrize(
        ("listen", "meant"),
        [
            ("tcp6:443:interface=::1", r"tcp6:443:interface=\:\:1"),
            ("tcp6:443:interface=[2001:db8::1]", r"tcp6:443:interface=2001\:db8\:\:1"),
            ("tcp6:443:interface=::1:backlog=9", r"tcp6:443:interface=\:\:1:backlog=9"),
            ("tcp6:443:interface=fe80::1%eth0", r"tcp6:443:interface=fe80\:\:1%eth0"),
            *(
                (one, one)
                for one in (
                    *("tcp:443:interface=127.0.0.1:backlog=9", "tcp6:443:interface=\\:\\:1"),
                    *("tcp:8443", "tcp:port=0", "systemd:domain=INET:index=0"),
                    "systemd:domain=INET6:name=homing.socket",
                )
            ),
        ],
    )
    def test_endpoints_are_allowed_and_an_ipv6_address_may_be_as_people_write_it(
        self, read: Read, listen: str, meant: str
    ) -> None:
        (endpoint,) = read(listening(listen) + SERVER).balancer.listen
        assert endpoint.description == meant

    @pytest.mark.parametrize(
        ("address", "meant"),
        [
            ("tcp:[::1]:8443", Address(host="::1", port=8443)),
            ("tcp:::1:8443", Address(host="::1", port=8443)),
            ("tcp:farm.test:1", Address(host="farm.test", port=1)),
            ("tcp:10.0.0.5:65535", Address(host="10.0.0.5", port=65535)),
            ("unix:/run/s1.sock", Address(path="/run/s1.sock")),
            ("unix:a:b", Address(path="a:b")),
        ],
    )
    def test_an_address_is_reached_where_it_says(
        self, read: Read, address: str, meant: Address
    ) -> None:
        (server,) = read(f'[[server]]\nname = "s1"\naddress = "{address}"').server
        assert server.address == meant
        assert Address.parse(str(meant)) == meant

    @pytest.mark.parametrize(("text", "renews"), [("", True), ("renew_tickets = false\n", False)])
    def test_tickets_are_renewed_unless_the_file_says_not(
        self, read: Read, text: str, renews: bool
    ) -> None:
        files = '[tls]\ncertificate = "a.pem"\nkey = "b.pem"\n'
        assert tls_options(read(f"[session_ids]\n{text}{files}{SERVER}")).renew_tickets is renews

    def test_max_ids_may_be_written_with_underscores(self, read: Read) -> None:
        (server,) = read(f"{SERVER}max_ids = 1_000_000").server
        assert server.max_ids == 1_000_000

    def test_whole_seconds_and_parts_of_a_percent_are_allowed(self, read: Read) -> None:
        config = read(f'[balancer]\nhello_timeout = 2\n[session_ids]\nspare = "12.5 %"\n{SERVER}')
        assert config.balancer.hello_timeout == 2.0
        assert config.session_ids.spare.part == Fraction(1, 8)

    def test_the_limits_on_returning_clients_can_be_set_and_switched_off(self, read: Read) -> None:
        assert read(SERVER).balancer.source_rate == 200
        assert read(SERVER).balancer.server_excess == 2
        config = read(f"[balancer]\nsource_rate = 0\nserver_excess = 1.5\n{SERVER}")
        assert (config.balancer.source_rate, config.balancer.server_excess) == (0, 1.5)
        assert read(SERVER).balancer.max_connections == 100_000
        assert read(SERVER).balancer.max_source_rate == 0
        config = read(f"[balancer]\nmax_connections = 0\nmax_source_rate = 0.5\n{SERVER}")
        assert (config.balancer.max_connections, config.balancer.max_source_rate) == (0, 0.5)

    @pytest.mark.parametrize("share", ["0.000001%", "100%"])
    def test_the_least_and_the_largest_share_are_allowed(self, read: Read, share: str) -> None:
        assert plan(read(f'{SERVER}share = "{share}"')).records["s1"].count() > 0


class TestIds:
    @pytest.mark.parametrize(
        ("ids", "meant"),
        [
            ('{ prefix = "53525641" }', IdRange.of_prefix(b"SRVA")),
            ('{ prefix = "00" }', IdRange(bytes(32), b"\0" + b"\xff" * 31)),
            (
                '{ range = ["00FF", "0100ab"] }',
                IdRange(b"\0\xff".ljust(32, b"\0"), b"\1\0\xab".ljust(32, b"\xff")),
            ),
            ('{ mask = "f0", value = "50" }', MandatoryBits(b"\xf0", b"\x50")),
            ('{ list = ["02", "01", "02"] }', IdList([b"\1", b"\2"])),
        ],
    )
    def test_every_form_means_the_set_it_describes(
        self, read: Read, ids: str, meant: IdSet
    ) -> None:
        assert plan(read(f"{SERVER}ids = {ids}")).records["s1"].parts == (meant,)

    def test_short_ends_of_a_range_take_in_all_that_starts_with_them(self, read: Read) -> None:
        record = plan(read(f'{SERVER}ids = {{ range = ["51", "52"] }}')).records["s1"]
        assert bytes.fromhex("51" + 31 * "00") in record
        assert bytes.fromhex("52" + 31 * "ff") in record
        assert bytes.fromhex("50" + 31 * "ff") not in record
        assert bytes.fromhex("53" + 31 * "00") not in record

    def test_a_list_file_is_found_next_to_the_farm_toml_and_may_have_comments(
        self, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "own.txt").write_text("# all of s1's\n\n  02  # the second\r\n01\n")
        monkeypatch.chdir(tmp_path / "elsewhere")
        config = read(f'{SERVER}ids = {{ list_file = "lists/own.txt" }}')
        assert plan(config).records["s1"].parts == (IdList([b"\1", b"\2"]),)

    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            (b"01\n# fine\n0g\n", "line 3: '0g' is not hex"),
            (b"01\n" + b"00" * 33 + b"\n", "line 2: "),
            (b"# nothing\n", "the list is empty"),
            (b"\xff\xfe", "own.txt: is not UTF-8 text: "),
            (None, "own.txt: cannot be read: No such file or directory"),
        ],
    )
    def test_a_bad_list_file_is_named_with_server_key_and_line(
        self, faults: Faults, tmp_path: Path, content: bytes | None, wrong: str
    ) -> None:
        if content is not None:
            (tmp_path / "own.txt").write_bytes(content)
        (fault,) = faults(f'{SERVER}ids = {{ list_file = "own.txt" }}')
        assert fault.startswith('server "s1": ids.list_file: ')
        assert wrong in fault

    def test_every_bad_list_file_is_named(self, faults: Faults, tmp_path: Path) -> None:
        (tmp_path / "own.txt").write_text("zz")
        ids = 'ids = {{ list_file = "{}" }}\n'
        first, second = faults(SERVER + ids.format("own.txt") + OTHER + ids.format("lost.txt"))
        assert first.startswith('server "s1": ids.list_file: line 1: ')
        assert second.startswith('server "s2": ids.list_file: ')

    @pytest.mark.parametrize(
        ("one", "other", "first", "last"),
        [
            ('{ prefix = "5352" }', '{ prefix = "53" }', "5352" + 30 * "00", "5352" + 30 * "ff"),
            ('{ range = ["01", "05"] }', '{ range = ["05", "09"] }', "05" + 31 * "00", "05ff"),
            ('{ mask = "ff", value = "53" }', '{ range = ["53", "54"] }', "53" + 31 * "00", "53ff"),
            ('{ list = ["53ab"] }', '{ prefix = "53" }', "53ab" + 30 * "00", None),
        ],
    )
    def test_overlapping_ids_name_both_servers_and_the_overlap(
        self, faults: Faults, one: str, other: str, first: str, last: str | None
    ) -> None:
        (fault,) = faults(f"{SERVER}ids = {one}\n{OTHER}ids = {other}\n")
        assert '"s1"' in fault
        assert '"s2"' in fault
        assert "ids" in fault
        assert first in fault
        assert last is None or last in fault.partition(" to ")[2]

    def test_a_server_may_have_several_sets_of_all_kinds(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "own.txt").write_text("61\n62\n")
        ids = (
            '[{ range = ["40", "4f"] }, { mask = "ff01", value = "5301" }, { list = ["60"] }, '
            '{ list_file = "own.txt" }]'
        )
        result = plan(read(f"{SERVER}ids = {ids}"))
        assert result.records["s1"].parts == (
            IdRange(b"\x40", b"\x4f"),
            MandatoryBits(b"\xff\1", b"\x53\1"),
            IdList([b"\x60"]),
            IdList([b"\x61", b"\x62"]),
        )
        for identifier in (b"\x41", b"\x53\3", b"\x60", b"\x62"):
            assert owner(result.table, identifier) == "s1"

    @pytest.mark.parametrize(
        ("ids", "place", "words"),
        [
            ('[{ prefix = "53" }, { prefix = "5" }]', "server[1].ids[2]", "not hex"),
            ("{ prefix = 5 }", "server[1].ids", "5 is not a string of hex digits"),
            ('{ prefi = "53" }', "server[1].ids", "or { list_file = PATH }, got ['prefi']"),
            ('[{ prefix = "53" }, "54"]', "server[1].ids[2]", "not a table"),
            ("[]", "server[1].ids", "at least one"),
            (
                '[{ prefix = "53" }, { list_file = "x" }]',
                'server "s1": ids[2].list_file',
                "No such",
            ),
            (
                '[{ prefix = "53" }, { list = ["60"] }, { list = ["61", "5301"] }]',
                'server "s1": ids[1] and ids[3] overlap',
                "5301" + 60 * "0",
            ),
        ],
    )
    def test_a_fault_in_one_of_several_sets_says_which(
        self, faults: Faults, ids: str, place: str, words: str
    ) -> None:
        (fault,) = faults(f"{SERVER}ids = {ids}")
        assert fault.startswith(f"{place}: ")
        assert words in fault

    def test_every_pair_that_overlaps_is_named(self, faults: Faults) -> None:
        same = 'ids = { prefix = "53" }\n'
        legacy = LEGACY + 'ids = { list = ["60"] }\n'
        fourth = '[[server]]\nname = "s4"\naddress = "unix:s4"\nids = { prefix = "60" }\n'
        found = faults(SERVER + same + OTHER + same + legacy + fourth)
        assert [[name for name in ("s1", "s2", "s3", "s4") if name in each] for each in found] == [
            ["s1", "s2"],
            ["s3", "s4"],
        ]

    def test_overlaps_come_in_order_with_their_sets_and_the_count_of_those_left_out(
        self, faults: Faults
    ) -> None:
        sets = ", ".join(f'{{ prefix = "{n:02x}" }}' for n in reversed(range(23)))
        found = faults(f'{SERVER}ids = [{sets}]\n{OTHER}ids = {{ range = ["00", "53"] }}')
        assert [each.partition(" overlap: ")[0] for each in found] == [
            *(f'server.ids: ids[{n}] of "s1" and ids of "s2"' for n in range(1, 21)),
            "server.ids: and 3 more",
        ]


@attrs.frozen
class Case:
    """A farm.toml with one fault: where it is, and words that say what is wrong and allowed."""

    text: str
    place: str
    words: tuple[str, ...]


def case(name: str, text: str, place: str, *words: str) -> Any:
    """A case for parametrize."""
    return pytest.param(Case(text, place, words), id=name)


def of_server(keys: str) -> str:
    """A farm.toml of one server whose keys, but the name, are these."""
    return f'[[server]]\nname = "s1"\n{keys}\n'


PERCENT = ('"0%"', '"100%"')
ADDRESS = ("unix:PATH", "tcp:HOST:PORT", "1 to 65535")
FROM = "server[1].proxy_protocol_from"
ENDPOINT = ("tcp:8443:interface=127.0.0.1", "0 to 65535")
IDS = ("prefix", "range", "mask", "value", "list")

ONE_FAULT = [
    # the file as a whole
    case("empty", "", "server", "is missing"),
    case(
        "no-server",
        'server = []\n[farm]\nregistry = "none"',  # else some may come by themselves
        "server",
        "at least one",
    ),
    case("section-unknown", "[balncer]\n" + SERVER, "balncer", "unknown", "balancer?"),
    case("key-unknown", "colour = 1\n" + SERVER, "colour", "unknown", "allowed", "session_ids"),
    case("key-path", 'path = "x"\n' + SERVER, "path", "unknown"),
    # unknown keys
    case("misspelt", f'[balancer]\npolcy = "random"\n{SERVER}', "balancer.polcy", "policy?"),
    case("far-off", f"[tls]\ncolour = 1\n{SERVER}", "tls.colour", "certificate", "key"),
    case("misspelt-in-server", f"{SERVER}mx_ids = 1", "server[1].mx_ids", "max_ids?"),
    case("in-second", f"{SERVER}{OTHER}shar = 1", "server[2].shar", "share?"),
    # what every server needs
    case("no-name", '[[server]]\naddress = "unix:a"', "server[1].name", "is missing"),
    case("no-address", of_server(""), "server[1].address", "is missing"),
    # wrong kinds
    case("int-for-text", f"[farm]\nstate_dir = 5\n{SERVER}", "farm.state_dir", "5", "string"),
    case("date-for-text", f"[farm]\nstate_dir = 2020-01-01\n{SERVER}", "farm.state_dir", "string"),
    case("text-for-bool", f'{OTHER}proxy_protocol = "yes"', "server[1].proxy_protocol", "true or"),
    case("log", f'[farm]\nlog_connections = "yes"\n{SERVER}', "farm.log_connections", "true or"),
    case("int-for-bool", f"{SERVER}managed = 0", "server[1].managed", "0", "true or false"),
    case("float-for-int", f"{SERVER}max_ids = 1e6", "server[1].max_ids", "whole number"),
    case("bool-for-int", f"{SERVER}max_ids = true", "server[1].max_ids", "whole number"),
    case("text-for-int", f'{SERVER}max_ids = "9"', "server[1].max_ids", "'9'", "whole number"),
    case("list-for-text", f"[balancer]\npolicy = []\n{SERVER}", "balancer.policy", "string"),
    case("table-for-text", f"[balancer]\npolicy = {{}}\n{SERVER}", "balancer.policy", "string"),
    # wrong values
    case("policy", f'[balancer]\npolicy = "best"\n{SERVER}', "balancer.policy", "best", "random"),
    case("scheme", f'[session_ids]\nscheme = "x"\n{SERVER}', "session_ids.scheme", "'x'", "range"),
    case("not-tls", f'[balancer]\nnot_tls = "x"\n{SERVER}', "balancer.not_tls", "policy", "close"),
    case("spare-number", f"[session_ids]\nspare = 20\n{SERVER}", "session_ids.spare", *PERCENT),
    case("spare-101", f'[session_ids]\nspare = "101%"\n{SERVER}', "session_ids.spare", *PERCENT),
    case("share-minus", f'{SERVER}share = "-1%"', "server[1].share", "-1%", *PERCENT),
    case("share-bare", f'{SERVER}share = "30"', "server[1].share", "'30'", *PERCENT),
    case("share-none", f'{SERVER}share = "0%"', 'server "s1": share', "above 0%"),
    case("max-ids-none", f"{SERVER}max_ids = 0", "server[1].max_ids", "0", "1 and more"),
    case("nan", f"[balancer]\nhello_timeout = nan\n{SERVER}", "balancer.hello_timeout", "0.1"),
    case("inf", f"[balancer]\nidle_timeout = inf\n{SERVER}", "balancer.idle_timeout", "0.1"),
    case("timeout-0", f"[balancer]\nhello_timeout = 0\n{SERVER}", "balancer.hello_timeout", "0.1"),
    case("rate", f"[balancer]\nsource_rate = -1\n{SERVER}", "balancer.source_rate", "0 and more"),
    case(
        "open", f"[balancer]\nmax_connections = -1\n{SERVER}", "balancer.max_connections", "0 and"
    ),
    case(
        "new",
        f"[balancer]\nmax_source_rate = -1\n{SERVER}",
        "balancer.max_source_rate",
        "0 and more",
    ),
    case("excess", f"[balancer]\nserver_excess = inf\n{SERVER}", "balancer.server_excess", "0 and"),
    case("hello-tiny", f"[balancer]\nmax_hello = 9\n{SERVER}", "balancer.max_hello", "512"),
    case("lifetime-0", f"[session_ids]\nlifetime = 0\n{SERVER}", "session_ids.lifetime", "1 and"),
    # names
    case("name-empty", '[[server]]\nname = ""\naddress = "unix:a"', "server[1].name", "1 to 63"),
    case("name-path", '[[server]]\nname = "../a"\naddress = "unix:a"', "server[1].name", "letter"),
    case("name-twice", SERVER + SERVER, "server.name", '"s1"', "2 servers"),
    case("workers-0", f"[balancer]\nworkers = 0\n{SERVER}", "balancer.workers", "1 to 256"),
    case("workers-257", f"[balancer]\nworkers = 257\n{SERVER}", "balancer.workers", "1 to 256"),
    case(
        "workers-learn",
        f"[balancer]\nworkers = 2\n{SERVER}{LEGACY}",
        "balancer.workers",
        "s3",
        "workers = 1",
        "learn_ids = false",
    ),
    case("default", f'[balancer]\ndefault_server = "x"\n{SERVER}', "balancer.default_server", "s1"),
    # addresses and endpoints
    case("address-plain", of_server('address = "10.0.0.5:8443"'), "server[1].address", *ADDRESS),
    case("address-port", of_server('address = "tcp:h:0"'), "server[1].address", *ADDRESS),
    case("address-high", of_server('address = "tcp:h:65536"'), "server[1].address", *ADDRESS),
    case("address-no-host", of_server('address = "tcp::8443"'), "server[1].address", *ADDRESS),
    case("address-no-path", of_server('address = "unix:"'), "server[1].address", *ADDRESS),
    case("address-space", of_server('address = "tcp:a b:1"'), "server[1].address", "'a b'"),
    case("address-dots", of_server('address = "tcp:a..b:1"'), "server[1].address", "host's name"),
    case("address-slash", of_server('address = "tcp:a/b:1"'), "server[1].address", "host's name"),
    case("address-tab", of_server('address = "tcp:a\\t:1"'), "server[1].address", "host's name"),
    case("address-ipv4", of_server('address = "tcp:1.2.3.400:1"'), "server[1].address", "no IP"),
    case("address-hex", of_server('address = "tcp:0x7f.1:1"'), "server[1].address", "no IP"),
    case("address-number", of_server('address = "tcp:a.0x7f:1"'), "server[1].address", "no IP"),
    case("address-bracket", of_server('address = "tcp:[::1:1"'), "server[1].address", "'[::1'"),
    case("address-int", of_server("address = 8443"), "server[1].address", *ADDRESS),
    case("address-long", of_server(f'address = "unix:{"a" * 108}"'), 'server "s1": address', "too"),
    case("listen-port", f'[balancer]\nlisten = ["tcp:65536"]\n{SERVER}', "balancer.listen[1]"),
    case("listen-unix", f'[balancer]\nlisten = ["unix:a"]\n{SERVER}', "balancer.listen[1]", "unix"),
    case(
        "listen-second",
        f'[balancer]\nlisten = ["tcp:1", 8443]\n{SERVER}',
        "balancer.listen[2]",
        "8443",
        *ENDPOINT,
    ),
    case("listen-none", f"[balancer]\nlisten = []\n{SERVER}", "balancer.listen", "at least one"),
    # ids
    case("ids-text", f'{SERVER}ids = "53"', "server[1].ids", "'53'", "table"),
    case("ids-empty", f"{SERVER}ids = {{}}", "server[1].ids", *IDS),
    case("ids-two", f'{SERVER}ids = {{ prefix = "1", mask = "1" }}', "server[1].ids", *IDS),
    case("ids-half", f'{SERVER}ids = {{ prefix = "535" }}', "server[1].ids", "'535'", "hex"),
    case("ids-no-hex", f'{SERVER}ids = {{ prefix = "xy" }}', "server[1].ids", "'xy'", "0-9"),
    case("ids-long", f'{SERVER}ids = {{ prefix = "{66 * "0"}" }}', "server[1].ids", "1 to 32"),
    case("ids-one-end", f'{SERVER}ids = {{ range = ["01"] }}', "server[1].ids", "[HEX, HEX]"),
    case("ids-turned", f'{SERVER}ids = {{ range = ["02", "01"] }}', "server[1].ids", "below"),
    case("ids-mask", f'{SERVER}ids = {{ mask = "f0", value = "0f" }}', "server[1].ids", "mask"),
    case("ids-none", f"{SERVER}ids = {{ list = [] }}", "server[1].ids", "empty"),
    case("ids-list-int", f"{SERVER}ids = {{ list = [1] }}", "server[1].ids", "1", "hex"),
    # between keys
    case("tls-half", f'[tls]\ncertificate = "a"\n{SERVER}', "tls", "certificate and key"),
    case(
        "both-asked",
        f'{SERVER}share = "1%"\nmax_ids = 1',
        'server "s1"',
        "share and max_ids: only one",
    ),
    case(
        "all-asked",
        f'{SERVER}ids = {{prefix="01"}}\nshare = "1%"\nmax_ids = 1',
        'server "s1"',
        "ids, share and max_ids: only one",
    ),
    case(
        "own-and-asked", f'{SERVER}ids = {{prefix="01"}}\nmax_ids = 1', 'server "s1"', "ids and max"
    ),
    *(
        case(f"proxy-{text}", f"{OTHER}proxy_protocol_from = {text}", FROM + place, *words)
        for text, place, *words in (
            ('["10.0.0.1/8"]', "[1]", "host bits", "10.0.0.0/8"),
            ('["here"]', "[1]", "'here'", "10.0.0.4 or ::1"),
            ("[10]", "[1]", "10", "string"),
            ('"10.0.0.0/8"', "", "'10.0.0.0/8'", "not a list"),
        )
    ),
    case(
        "proxy-from-alone",
        f'{OTHER}proxy_protocol_from = ["::1"]',
        'server "s2": proxy_protocol_from',
        "proxy_protocol = true",
    ),
    case(
        "proxy-from-unmanaged",
        f'{LEGACY}proxy_protocol = true\nproxy_protocol_from = ["::1"]',
        'server "s3": proxy_protocol_from',
        "managed",
    ),
    case(
        "proxy-from-nobody",
        f"{OTHER}proxy_protocol = true\nproxy_protocol_from = []",
        'server "s2": proxy_protocol_from',
        "at least one",
    ),
    *(
        case(f"{key}-unix", f"{SERVER}{key} = {value}", f'server "s1": {key}', "tcp:HOST:PORT")
        for key, value in (
            ("tls_name", '"www.example.org"'),
            ("ca", '"ca.pem"'),
            ("probe", "false"),
            ("learn_ids", "true"),
        )
    ),
    case(
        "unprobed-name",
        f'{OTHER}probe = false\ntls_name = "www.example.org"',
        'server "s2": tls_name',
        "probed",
    ),
    *(
        case(
            f"name-{name}",
            f'{OTHER}tls_name = "{name}"',
            "server[1].tls_name",
            repr(name),
            "name of a host",
        )
        for name in ("a b", "", "1.2", "b\u00fccher.example")
    ),
    case("proxy-unix", f"{SERVER}proxy_protocol = true", 'server "s1": proxy_protocol', "tcp:"),
    case("theirs-unix", f"{SERVER}managed = false", 'server "s1": address', "tcp:HOST:PORT"),
    case("theirs-share", f'{LEGACY}share = "1%"', 'server "s3": share', "managed"),
    case("theirs-app", f'{LEGACY}app = "a:b"', 'server "s3": app', "managed"),
    case("more-than-all", f'{SERVER}share="70%"\n{OTHER}share="40%"', "server", '"s2"', "100%"),
    case("no-room", f'{LEGACY}ids = {{ range = ["00", "ff"] }}\n{SERVER}', "server", "narrow"),
    # what would be misunderstood
    case("listen-text", f'[balancer]\nlisten = "tcp:8443"\n{SERVER}', "balancer.listen", "list"),
    case(
        "listen-table",
        f"[balancer]\nlisten = {{ a = 1, b = 2 }}\n{SERVER}",
        "balancer.listen",
        "list",
    ),
    case("server-single", '[server]\nname = "s1"\naddress = "unix:a"', "server", "[[server]]"),
    case("section-number", f"balancer = 5\n{SERVER}", "balancer", "table", "[balancer]"),
    case("section-list", f"[[balancer]]\n{SERVER}", "balancer", "table"),
    case(
        "ids-list-file", f"{SERVER}ids = {{ list_file = 5 }}", "server[1].ids", "list_file = PATH"
    ),
    case("spare-all", f'[session_ids]\nspare = "100%"\n{SERVER}', "session_ids.spare"),
    case("path-nul", of_server('address = "unix:a\\u0000b"'), "server[1].address"),
    case(
        "same-socket",
        SERVER + '[[server]]\nname = "s2"\naddress = "unix:./s1.sock"\n',
        "server",
        '"s1"',
        '"s2"',
    ),
    case(
        "endpoint-option",
        f'[balancer]\nlisten = ["tcp:8443:foo=bar"]\n{SERVER}',
        "balancer.listen[1]",
        "foo",
    ),
    *(
        case(
            f"listen-{one}", f'[balancer]\nlisten = ["{one}"]\n{SERVER}', "balancer.listen[1]", one
        )
        for one in (
            *("systemd:domain=UNIX:index=0", "systemd:domain=INET", "systemd:domain=INET:index=-1"),
            *("systemd:domain=INET:index=0:name=a", "systemd:", "tcp6:443:::1"),
        )
    ),
]


class TestWhatIsWrong:
    @pytest.mark.parametrize("wrong", ONE_FAULT)
    def test_a_fault_is_one_message_with_its_place_and_what_is_allowed(
        self, faults: Faults, wrong: Case
    ) -> None:
        (fault,) = faults(wrong.text)
        assert fault.startswith(f"{wrong.place}: ")
        said = fault.removeprefix(wrong.place)
        assert [word for word in wrong.words if word not in said] == []

    @pytest.mark.parametrize(
        ("section", "keys"), [("cache = 1_000_000_000", ""), ("", "max_ids = 1_000_000_000")]
    )
    def test_a_list_too_long_to_be_made_is_refused(
        self, read: Read, section: str, keys: str
    ) -> None:
        with pytest.raises(InvalidConfig, match="list"):
            read(f'[session_ids]\nscheme = "list"\n{section}\n{SERVER}{keys}')

    def test_all_faults_of_a_file_are_named_at_once(self, faults: Faults) -> None:
        found = faults(
            f'[farm]\ncolour = 1\n[balancer]\npolicy = "x"\nlisten = ["tcp:1", "foo", "bar"]\n'
            f'[session_ids]\nspare = "x"\nscheme = "y"\n[tls]\ncertificate = 1\n'
            f'{SERVER}share = "x"\nfoo = 1\nbar = 2\n[[server]]\nname = "-"\n'
        )
        places = sorted(fault.partition(":")[0] for fault in found)
        assert places == sorted(
            [
                *("farm.colour", "balancer.policy", "balancer.listen[2]", "balancer.listen[3]"),
                *("session_ids.spare", "session_ids.scheme", "tls.certificate"),
                *("server[1].share", "server[1].foo", "server[1].bar"),
                *("server[2].name", "server[2].address"),
            ]
        )

    def test_all_contradictions_of_a_file_are_named_at_once(self, faults: Faults) -> None:
        found = faults(
            f'[balancer]\ndefault_server = "x"\nlisten = []\n[tls]\nkey = "x"\n'
            f"{SERVER}proxy_protocol = true\n{OTHER}{OTHER}{LEGACY}max_ids = 1\n"
        )
        expected = (
            *("balancer.default_server: ", "balancer.listen: ", 'server "s1": proxy_protocol: '),
            *('server "s3": max_ids: ', "server.name: ", "tls: "),
        )
        assert len(found) == len(expected)
        for start, fault in zip(expected, sorted(found), strict=True):
            assert fault.startswith(start)

    def test_the_key_path_hides_no_other_fault(self, faults: Faults) -> None:
        assert len(faults(f"path = 1\ncolour = 2\n{SERVER}")) == 2

    def test_a_key_with_a_line_end_is_one_line_as_well(self, faults: Faults) -> None:
        assert len(faults(f'"a\\nb" = 1\n{SERVER}')) == 1

    @pytest.mark.parametrize(
        ("text", "line"),
        [("[farm\n", 1), (f"{SERVER}share = \n", 4), (f"{SERVER}\nname = 'a'\nname = 'b'", 5)],
    )
    def test_a_syntax_error_names_its_line(self, faults: Faults, text: str, line: int) -> None:
        (fault,) = faults(text)
        assert "TOML" in fault
        assert f"line {line}," in fault

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("lost.toml", "cannot be read: No such file or directory"),
            ("folder", "cannot be read: Is a directory"),
            ("binary", "is not UTF-8 text: 'utf-8' codec can't decode"),
        ],
    )
    def test_what_is_no_text_file_is_named(self, tmp_path: Path, name: str, words: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
        with pytest.raises(InvalidConfig) as caught:
            load(tmp_path / name)
        (message,) = caught.value.messages
        assert message.startswith(f"{tmp_path / name}: {words}")

    @pytest.mark.parametrize(
        "text", ["x = " + 5000 * "1", "x = " + 3000 * "["], ids=["huge-number", "deep"]
    )
    def test_toml_that_python_cannot_read_is_a_fault_like_others(
        self, faults: Faults, text: str
    ) -> None:
        assert len(faults(text)) == 1

    def test_the_longest_path_that_a_socket_can_have_is_allowed_and_no_longer(
        self, read: Read, tmp_path: Path
    ) -> None:
        room = 107 - len(f"{tmp_path}/homing-state/")
        assert read(of_server(f'address = "unix:{"a" * room}"')).server
        with pytest.raises(InvalidConfig, match="too long for a UNIX socket"):
            read(of_server(f'address = "unix:{"a" * (room + 1)}"'))
        with pytest.raises(InvalidConfig, match="too long for a UNIX socket"):
            read(of_server(f'address = "unix:{"a" * (room - 1)}ä"'))

    def test_a_socket_path_too_long_is_found_from_within_its_folder_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = tmp_path / ("d" * 90)
        deep.mkdir()
        (deep / "farm.toml").write_text(SERVER)
        monkeypatch.chdir(deep)
        with pytest.raises(InvalidConfig, match="too long for a UNIX socket"):
            load(Path("farm.toml"))


WORDS = (
    *("farm", "balancer", "session_ids", "tls", "server", "path", "state_dir", "listen", "policy"),
    *("default_server", "not_tls", "hello_timeout", "max_hello", "scheme", "spare", "lifetime"),
    *("certificate", "key", "name", "address", "managed", "group", "ids", "share", "max_ids"),
    *(
        "proxy_protocol",
        "proxy_protocol_from",
        "app",
        "tls_name",
        "ca",
        "probe",
        "learn_ids",
        "prefix",
        "range",
        "mask",
        "value",
        "list",
        "list_file",
    ),
)
PRINTABLE = st.characters(exclude_categories=["C", "Zl", "Zp"])
KEYS = st.sampled_from(WORDS) | st.text(PRINTABLE, max_size=4)
TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        *("s1", "s2", "unix:a", "unix:b", "tcp:h:1", "tcp:8443", "systemd:x", "20%", "0%", "100%"),
        *("00", "ff", "53525641", "range", "bits", "hash", "seeded", "keyed", "random", "issuer"),
    ]
)
SCALARS = TEXTS | st.booleans() | st.integers() | st.integers(0, 3) | st.floats() | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The ways to all values in `data`, itself included."""
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data if isinstance(data, list) else ())
    )
    deeper = [
        place
        for key, value in (inner if isinstance(data, dict | list) else ())
        for place in places(value, (*path, key))
    ]
    return [path, *deeper]


def replaced(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """`data` with another value at one place."""
    if not place:
        return value
    first, *rest = place
    copy = data.copy()
    copy[first] = replaced(data[first], tuple(rest), value)
    return copy


def written(value: Any) -> str:
    """A value in TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(k)} = {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_toml(data: dict[str, Any]) -> str:
    """A document in TOML."""
    text = "".join(f"{written(key)} = {written(value)}\n" for key, value in data.items())
    assert repr(tomllib.loads(text)) == repr(data)
    return text


EXAMPLE = tomllib.loads(EXAMPLE_FARM)


@pytest.fixture(name="path", scope="module")
def path_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A farm.toml to be overwritten."""
    return tmp_path_factory.mktemp("any") / "farm.toml"


def at(*addresses: str, more: str = "") -> str:
    """Servers at these addresses."""
    return "".join(
        f'[[server]]\nname = "s{n}"\naddress = "{address}"\n{more}'
        for n, address in enumerate(addresses, 1)
    )


def listening(*endpoints: str) -> str:
    """A balancer that listens there."""
    return f"[balancer]\nlisten = {json.dumps(endpoints)}\n"


class TestAddressesThatCannotBeShared:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("tcp:127.0.0.1:9001", "tcp:127.0.0.1:9001"),
            ("tcp:[::1]:9001", "tcp:::1:9001"),
            ("tcp:[::1]:9001", "tcp:[0:0::0001]:9001"),
            ("tcp:127.0.0.1:9001", "tcp:[::ffff:127.0.0.1]:9001"),
            ("tcp:s1.example.org:9001", "tcp:S1.example.org.:9001"),
            ("tcp:0.0.0.0:9001", "tcp:127.0.0.1:9001"),
            ("tcp:127.0.0.1:9001", "tcp:0.0.0.0:9001"),
            ("tcp:[::]:9001", "tcp:[::1]:9001"),
            ("tcp:localhost:9001", "tcp:127.0.0.1:9001"),
            ("tcp:[::1]:9001", "tcp:LOCALHOST.:9001"),
            ("tcp:0.0.0.0:9001", "tcp:localhost:9001"),
        ],
    )
    def test_two_servers_at_one_address_are_named(
        self, faults: Faults, one: str, other: str
    ) -> None:
        (fault,) = faults(at(one, other))
        assert fault.startswith('server "s2": address: tcp:')
        assert fault.endswith(' is the address of "s1" too: give each a port of its own')

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("tcp:h:1", "tcp:h:2"),
            ("tcp:h:1", "tcp:i:1"),
            ("tcp:127.0.0.1:1", "tcp:[::1]:1"),
            ("tcp:0.0.0.0:1", "tcp:h:1"),
            ("tcp:0.0.0.0:1", "tcp:[::1]:1"),
            ("tcp:localhost:1", "tcp:localhost:2"),
            ("tcp:localhost:1", "tcp:127.0.0.2:1"),
        ],
    )
    def test_two_servers_that_differ_are_right(self, read: Read, one: str, other: str) -> None:
        assert len(read(at(one, other)).server) == 2

    def test_servers_that_are_not_ours_may_be_behind_one_address(self, read: Read) -> None:
        assert len(read(at("tcp:h:1", "tcp:h:1", more="managed = false\n")).server) == 2

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("tcp:8443", "tcp:8443"),
            ("tcp:8443", "tcp:port=8443"),
            ("tcp:8443", "tcp:8443:interface=10.0.0.5"),
            ("tcp:8443:interface=127.0.0.1", "tcp:8443:127.0.0.1"),
            ("tcp6:8443", "tcp6:8443:interface=::1"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ],
    )
    def test_one_endpoint_twice_is_named(self, faults: Faults, one: str, other: str) -> None:
        (fault,) = faults(listening(one, other) + SERVER)
        assert fault == (
            f'balancer.listen: "{one}" and "{other}" are one address: remove one of them'
        )

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("tcp:0", "tcp:0"),
            ("tcp:443", "tcp6:443"),
            ("tcp:443", "tcp:8443"),
            ("tcp:443:interface=10.0.0.5", "tcp:443:interface=10.0.0.6"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"),
        ],
    )
    def test_two_endpoints_that_differ_are_right(self, read: Read, one: str, other: str) -> None:
        assert len(read(listening(one, other) + SERVER).balancer.listen) == 2

    @pytest.mark.parametrize(
        ("endpoint", "address"),
        [
            ("tcp:9001:interface=127.0.0.1", "tcp:127.0.0.1:9001"),
            ("tcp:9001", "tcp:127.0.0.1:9001"),
            ("tcp:9001", "tcp:localhost:9001"),
            ("tcp:9001:interface=127.0.0.1", "tcp:localhost:9001"),
            ("tcp6:9001:interface=::1", "tcp:localhost:9001"),
            ("tcp6:9001", "tcp:[::1]:9001"),
            ("tcp:9001:interface=10.0.0.5", "tcp:10.0.0.5:9001"),
        ],
    )
    def test_a_server_where_the_balancer_listens_is_named(
        self, faults: Faults, endpoint: str, address: str
    ) -> None:
        (fault,) = faults(listening(endpoint) + at(address))
        assert fault == (
            f'server "s1": address: {address} is where the balancer itself listens, by '
            f'"{endpoint}": choose another port'
        )

    def test_a_server_on_another_machine_may_have_the_balancers_port(self, read: Read) -> None:
        assert read(listening("tcp:9001") + at("tcp:10.0.0.5:9001")).server


class TestAnyFile:
    @staticmethod
    def accepted(path: Path, data: dict[str, Any]) -> bool:
        """Whether it is a farm; what else it may be is InvalidConfig, every message one line."""
        path.write_text(as_toml(data), encoding="utf-8")
        try:
            plan(load(path))
        except InvalidConfig as error:
            fault = error
        else:
            return True
        assert fault.messages
        assert all(message.startswith(f"{path}: ") for message in fault.messages)
        assert str(fault).split("\n") == list(fault.messages)
        return False

    @settings(max_examples=80)
    @given(data=st.dictionaries(KEYS, VALUES, max_size=4))
    def test_no_data_brings_anything_but_messages(self, path: Path, data: dict[str, Any]) -> None:
        self.accepted(path, data)

    @settings(max_examples=150)
    @given(data=st.data())
    def test_no_change_of_the_example_brings_anything_but_messages(
        self, path: Path, data: st.DataObject
    ) -> None:
        changed = EXAMPLE
        for _ in range(data.draw(st.integers(1, 2))):
            place = data.draw(st.sampled_from(places(changed)[1:]))
            changed = replaced(changed, place, data.draw(VALUES))
        self.accepted(path, changed)

    def test_the_example_goes_through_the_writer_whole(self, path: Path) -> None:
        assert self.accepted(path, EXAMPLE)
