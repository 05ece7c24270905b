"""Farms, balancers and servers when something is wrong: a line, a status, and no traceback."""

from __future__ import annotations

import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from homing import __version__
from homing.farm.processes.run import COMMAND
from tests.processes import LISTEN, Ran, at_once, homing, ran, twistd

SERVER = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
BALANCER = ("balancer", "--config", "farm.toml")
S1 = ("server", "--config", "farm.toml", "--name", "s1")
FARM = ("farm", "--config", "farm.toml")


def config(folder: Path, text: str = "", state_dir: str = ".") -> Path:
    """A farm.toml of one server with `text` before it."""
    path = folder / "farm.toml"
    path.write_text(f'[farm]\nstate_dir = "{state_dir}"\n{text}\n{SERVER}')
    return path


def refused(ran: Ran, status: int, *words: str) -> None:
    """It ended with that status and one line with these words."""
    assert ran.status == status, ran.said
    assert "Traceback" not in ran.said
    said = [line for line in ran.said.splitlines() if all(word in line for word in words)]
    assert len(said) == 1, ran.said


@pytest.fixture(name="busy")
def busy_() -> Iterator[int]:
    """A port where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


Here = Callable[..., Ran]


@pytest.fixture(name="here")
def here_(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Here]:
    """Has a process refuse its options inside this one: for the many ways to be wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def run(process: str, *arguments: str) -> Ran:
        module = import_module(f"homing.farm.processes.{process}")
        options = module.Options()
        options.parseOptions(arguments)
        with pytest.raises(SystemExit) as end:
            module.makeService(options)
        assert isinstance(end.value.code, int)
        return Ran(end.value.code, *capsys.readouterr())

    yield run
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


class TestWrongFarmToml:
    def test_every_process_ends_with_one_line_a_fault_and_status_2(self, tmp_path: Path) -> None:
        path = config(tmp_path, '[balancer]\npolicy = "x"\n[session_ids]\nspare = "x"\n')
        for said in at_once(*(partial(homing, *one, cwd=tmp_path) for one in (BALANCER, S1, FARM))):
            assert said.status == 2
            assert [fault.split(": ")[:2] for fault in said.said.splitlines()] == [
                [str(path), "balancer.policy"],
                [str(path), "session_ids.spare"],
            ]
        assert list(tmp_path.iterdir()) == [path], "started all the same"

    @pytest.mark.parametrize("process", [BALANCER, S1, FARM], ids=lambda one: one[0])
    def test_ids_that_overlap_stop_everything(
        self, tmp_path: Path, process: tuple[str, ...], here: Here
    ) -> None:
        ids = 'ids = { prefix = "53" }\n'
        second = f'[[server]]\nname = "s2"\naddress = "unix:s2.sock"\n{ids}'
        (tmp_path / "farm.toml").write_text(f"{SERVER}{ids}{second}")
        refused(here(*process), 2, "server.ids", '"s1"', '"s2"', "53" + 31 * "ff")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("balancer",), 2, ("--config is missing", "farm.toml")),
        (("server", "--name", "s1"), 2, ("--config is missing",)),
        (("server", "--config", "farm.toml"), 2, ("--name is missing", "s1")),
        ((*S1, "--app", "no_such_module:f"), 2, ("no_such_module", "ModuleNotFoundError")),
        ((*S1, "--app", "json:dumps"), 2, ("json:dumps", "TypeError")),
        ((*S1, "--app", "bare"), 2, ("bare", "module:factory")),
        (("server", "--config", "lost_tls.toml", "--name", "s1"), 2, ("lost.pem", "No such file")),
        (("server", "--config", "no_state.toml", "--name", "s1"), 1, ("file",)),
        (("farm", "--state-dir", "file"), 1, ("file",)),
        (("farm", "--app", "no_such_module:f"), 2, ("no_such_module", "ModuleNotFoundError")),
        (("farm", "--app", "tcp:x"), 2, ("tcp:x", "tcp:HOST:PORT")),
        (("farm", "--config", "lost_tls.toml"), 2, ("lost.pem", "No such file")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_started_is_said_in_a_line(
    tmp_path: Path, arguments: tuple[str, ...], status: int, words: tuple[str, ...], here: Here
) -> None:
    (tmp_path / "file").touch()
    config(tmp_path, state_dir="file").rename(tmp_path / "no_state.toml")
    tls = '[tls]\ncertificate = "lost.pem"\nkey = "lost.key"'
    config(tmp_path, tls).rename(tmp_path / "lost_tls.toml")
    config(tmp_path)
    refused(here(*arguments), status, *words)


class TestBalancer:
    @pytest.mark.parametrize(
        ("listen", "words"),
        [
            ("tcp:{busy}:interface=127.0.0.1", "Address already in use"),
            ("systemd:domain=INET:index=0", "no such socket was inherited"),
            ("systemd:domain=INET:name=homing.socket", "no such socket was inherited"),
        ],
    )
    def test_where_it_cannot_listen_is_said_in_a_line(
        self, tmp_path: Path, busy: int, listen: str, words: str
    ) -> None:
        listen = listen.format(busy=busy)
        config(tmp_path, f'[balancer]\nlisten = ["{listen}"]')
        said = homing(*BALANCER, cwd=tmp_path)
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith(f"cannot listen at {listen}: ")
        assert words in said.err
        assert said.err.count("\n") == 1

    def test_its_timers_do_not_follow_jumps_of_the_wall_clock(self, tmp_path: Path) -> None:
        """Twisted asks time.time: set back by an hour, no client that is late would be closed."""
        config(tmp_path)
        script = """
import time
from homing.farm.processes.balancer import Options, makeService
options = Options()
options.parseOptions(["--config", "farm.toml"])
makeService(options)
from twisted.internet import reactor
before, reactor_before = time.monotonic(), reactor.seconds()
call = reactor.callLater(5, print)
assert abs(reactor_before - before) < 5
assert abs(call.getTime() - before - 5) < 5
"""
        said = ran(sys.executable, "-c", script, cwd=tmp_path)
        assert said.status == 0, said


class TestServer:
    @pytest.mark.parametrize("name", ["s9", "legacy"])
    def test_a_name_that_is_no_server_of_ours_is_said_with_those_there_are(
        self, tmp_path: Path, name: str, here: Here
    ) -> None:
        path = config(tmp_path)
        legacy = '[[server]]\nname = "legacy"\naddress = "tcp:10.0.0.6:8443"\nmanaged = false\n'
        path.write_text(path.read_text() + legacy)
        ran = here("server", "--config", "farm.toml", "--name", name)
        refused(ran, 2, str(path), f'"{name}"', "there are s1")

    def test_a_port_in_use_is_said_in_a_line(self, tmp_path: Path, busy: int) -> None:
        address = f"tcp:127.0.0.1:{busy}"
        (tmp_path / "farm.toml").write_text(f'[[server]]\nname = "s1"\naddress = "{address}"\n')
        said = homing(*S1, cwd=tmp_path)
        assert said.status == 1
        assert said.err == f"cannot listen at {address}: Address already in use\n"

    def test_a_socket_in_use_is_said_and_left_to_its_owner(self, tmp_path: Path) -> None:
        config(tmp_path)
        with socket.socket(socket.AF_UNIX) as owner:
            owner.bind(str(tmp_path / "s1.sock"))
            owner.listen()
            refused(homing(*S1, cwd=tmp_path), 1, "s1.sock", "another process listens")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "s1.sock"))


class TestFarm:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--servers", "0"], ["--servers 0", "1 to"]),
            (["--servers", "many"], ["--servers many", "1 to"]),
            (["--scheme", "bogus"], ["--scheme bogus", "range"]),
            (["--listen", "8443"], ["--listen", "'8443'", "tcp:8443:interface=127.0.0.1"]),
            (["--listen", "tcp:1:foo=2"], ["--listen", "foo"]),
            (["--config", "farm.toml", "--servers", "2"], ["--servers: ", "farm.toml"]),
            (
                ["--config", "farm.toml", "--listen", LISTEN, "--relay", "--scheme", "range"],
                ["--listen, --scheme, --relay: ", "farm.toml"],
            ),
        ],
        ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
    )
    def test_options_that_make_no_sense_are_refused_before_anything_is_written(
        self, tmp_path: Path, arguments: list[str], words: list[str], here: Here
    ) -> None:
        config(tmp_path)
        refused(here("farm", *arguments), 2, *words)
        assert [path.name for path in tmp_path.iterdir()] == ["farm.toml"]

    def left(self, state: Path) -> set[str]:
        """What a farm that did not start must not leave."""
        files = {path.name for path in state.iterdir()}
        return {name for name in files if name.endswith((".sock", ".json", ".lock", ".new"))}

    def test_one_whose_servers_cannot_start_ends_soon_and_says_why(self, tmp_path: Path) -> None:
        began = time.monotonic()
        arguments = ("--listen", LISTEN, "--state-dir", "state", "--servers", "2")
        said = homing("farm", *arguments, "--app", "json:dumps", cwd=tmp_path)
        assert time.monotonic() - began < 20
        assert said.status == 2
        assert "error: app 'json:dumps': TypeError" in said.out
        (failed,) = [line for line in said.out.splitlines() if "could not start" in line]
        assert "error: s" in failed
        for words in ("starts again", "warn", "homing-farm ready", "Traceback"):
            assert words not in said.said
        assert not self.left(tmp_path / "state")

    def test_one_whose_port_is_in_use_ends_before_it_begins(
        self, tmp_path: Path, busy: int, here: Here
    ) -> None:
        listen = f"tcp:{busy}:interface=127.0.0.1"
        arguments = ("--listen", listen, "--state-dir", "state", "--servers", "1")
        said = here("farm", *arguments)
        refused(said, 1, "cannot listen", str(busy))
        assert len(said.said.splitlines()) == 1, "it began before it could not go on"
        assert not self.left(tmp_path / "state")


class TestCommandLine:
    @pytest.mark.parametrize(
        ("process", "options"),
        [
            ("farm", "servers listen state-dir scheme resumption relay config app log-json"),
            ("balancer", "config log-json"),
            ("server", "config name app log-json"),
        ],
    )
    def test_every_process_has_help_with_an_example(
        self, tmp_path: Path, process: str, options: str
    ) -> None:
        said = homing(process, "--help", cwd=tmp_path)
        assert (said.status, said.err) == (0, "")
        assert said.out.startswith(f"Usage: homing {process} [options]\n")
        assert [one for one in options.split() if f"--{one}" not in said.out] == []
        assert f"xample: homing {process} " in " ".join(said.out.replace("les:", "le:").split())

    @pytest.mark.parametrize("process", ["farm", "balancer", "server"])
    def test_the_version_is_ours_and_not_that_of_twisted(
        self, tmp_path: Path, process: str
    ) -> None:
        said = homing(process, "--version", cwd=tmp_path)
        assert (said.status, said.said) == (0, f"homing {__version__}\n")

    def test_bad_usage_is_told_from_failure(self, tmp_path: Path) -> None:
        said = homing("farm", "--bogus", cwd=tmp_path)
        assert (said.status, said.out) == (2, "")
        assert said.err == "homing farm: option --bogus not recognized\ntry: homing farm --help\n"

    @pytest.mark.parametrize("importing", ["twisted.logger", "homing.farm.processes.farm"])
    @pytest.mark.parametrize(
        ("number", "ends"),
        [
            (signal.SIGINT, (-signal.SIGINT, "")),  # without a traceback
            (signal.SIGHUP, (2, "homing farm: Wrong number of arguments.")),  # it goes on
        ],
    )
    def test_signals_while_it_starts(
        self, tmp_path: Path, importing: str, number: int, ends: tuple[int, str]
    ) -> None:
        script = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here
class Finder:
    def find_spec(self, name, *_):
        if name == sys.argv[2]:
            os.kill(os.getpid(), int(sys.argv.pop()))
sys.meta_path.insert(0, Finder())
from homing.__main__ import main
sys.exit(main())
"""
        said = ran(sys.executable, "-c", script, "farm", importing, str(number), cwd=tmp_path)
        assert (said.status, said.said.partition("\n")[0]) == ends

    def test_twistd_has_the_same_as_plugins(self, tmp_path: Path) -> None:
        listed = twistd("--help", cwd=tmp_path).out
        assert all(f"homing-{name}" in listed for name in ("farm", "balancer", "server"))
        assert "--servers" in twistd("homing-farm", "--help", cwd=tmp_path).out


@pytest.mark.parametrize("limit", [8, 10, 20])
@pytest.mark.parametrize("process", [BALANCER, S1], ids=lambda one: one[0])
def test_a_process_with_too_few_descriptors_says_how_many_it_needs(
    tmp_path: Path, process: tuple[str, ...], limit: int
) -> None:
    config(tmp_path)
    limited = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *COMMAND, *process)
    said = ran(*limited, cwd=tmp_path)
    assert said.status == 1
    assert said.said.startswith(f"only {limit} open files are allowed, and a ")
    assert said.said.count("\n") == 1
