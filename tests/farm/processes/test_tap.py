"""The twistd plugins when something is wrong: said in a line, with a status, and no traceback."""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.python.usage import Options

from homing.farm.processes.options import BalancerOptions, FarmOptions, ServerOptions
from homing.farm.processes.tap import make_balancer, make_farm, make_server
from homing.farm.processes.twistd import TWISTD
from tests.farm.running import Ran, at_once, homing, python, twistd

LISTEN = "tcp:0:interface=127.0.0.1"
SERVER = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'


def config(folder: Path, text: str, state_dir: str = ".") -> Path:
    """A farm.toml of one server with `text` before it."""
    path = folder / "farm.toml"
    path.write_text(f'[farm]\nstate_dir = "{state_dir}"\n{text}\n{SERVER}')
    return path


def refused(ran: Ran, status: int, *words: str) -> None:
    """It ended with that status and one line with these words; twistd may log around it."""
    assert ran.status == status, ran.said
    assert "Traceback" not in ran.said
    said = [line for line in ran.said.splitlines() if all(word in line for word in words)]
    assert len(said) == 1, ran.said


@pytest.fixture(name="busy")
def busy_() -> Iterator[int]:
    """A port where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


Make = Callable[[Any], object]
Here = Callable[..., Ran]


@pytest.fixture(name="here")
def here_(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Here]:
    """Has a plugin refuse its options inside this process: for the many ways to be wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def run(options: Options, make: Make, *arguments: str) -> Ran:
        options.parseOptions(arguments)
        with pytest.raises(SystemExit) as end:
            make(options)
        assert isinstance(end.value.code, int)
        return Ran(end.value.code, *capsys.readouterr())

    yield run
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture(name="server")
def server_(here: Here) -> Here:
    """The same for homing-server."""
    return lambda *arguments: here(ServerOptions(), make_server, *arguments)


class TestWrongFarmToml:
    def test_every_plugin_ends_with_one_line_a_fault_and_status_2(self, tmp_path: Path) -> None:
        path = config(tmp_path, '[balancer]\npolicy = "x"\n[session_ids]\nspare = "x"\n')
        plugins = (
            ["homing-balancer"],
            ["homing-server", "--name", "s1"],
            ["homing-farm"],
        )
        for ran in at_once(
            *(partial(twistd, *plugin, "--config", path, cwd=tmp_path) for plugin in plugins)
        ):
            assert ran.status == 2
            faults = ran.said.splitlines()
            assert [fault.split(": ")[:2] for fault in faults] == [
                [str(path), "balancer.policy"],
                [str(path), "session_ids.spare"],
            ]
        assert list(tmp_path.iterdir()) == [path], "started all the same"

    def test_ids_that_overlap_stop_balancer_server_and_farm(self, tmp_path: Path) -> None:
        ids = 'ids = { prefix = "53" }\n'
        path = config(tmp_path, "")
        path.write_text(f'{SERVER}{ids}[[server]]\nname = "s2"\naddress = "unix:s2.sock"\n{ids}')
        plugins = (["homing-balancer"], ["homing-server", "--name", "s1"], ["homing-farm"])
        for ran in at_once(
            *(partial(twistd, *plugin, "--config", path, cwd=tmp_path) for plugin in plugins)
        ):
            refused(ran, 2, "server.ids", '"s1"', '"s2"', "53" + 31 * "ff")

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        ran = twistd("homing-farm", "--config", "lost.toml", cwd=tmp_path)
        refused(ran, 2, "lost.toml: cannot be read: No such file")
        assert not list(tmp_path.iterdir())

    def test_a_function_that_does_not_import_is_a_fault_like_others(self, tmp_path: Path) -> None:
        text = '[session_ids]\nscheme = "function"\nfunction = "no_such_module:x"'
        path = config(tmp_path, text)
        command = partial(homing, "check", path, cwd=tmp_path)
        for ran in at_once(
            command, partial(twistd, "homing-balancer", "--config", path, cwd=tmp_path)
        ):
            refused(ran, 2, f"{path}: session_ids.function: ", "no_such_module")

    @pytest.mark.parametrize("scheme", ["keyed", "seeded"])
    def test_secrets_that_cannot_be_made_are_said(self, tmp_path: Path, scheme: str) -> None:
        (tmp_path / "file").touch()
        path = config(tmp_path, f'[session_ids]\nscheme = "{scheme}"', "file")
        ran = homing("check", path, cwd=tmp_path)
        assert (ran.status, ran.out) == (1, "")
        assert "Traceback" not in ran.err
        assert str(tmp_path / "file") in ran.err


class TestBalancer:
    def test_a_config_is_asked_for(self, here: Here) -> None:
        ran = here(BalancerOptions(), make_balancer)
        refused(ran, 2, "--config is missing", "farm.toml")

    def test_a_port_in_use_is_said_in_a_line(self, tmp_path: Path, busy: int) -> None:
        path = config(tmp_path, f'[balancer]\nlisten = ["tcp:{busy}:interface=127.0.0.1"]')
        ran = twistd("homing-balancer", "--config", path, cwd=tmp_path)
        refused(ran, 1, "cannot listen", str(busy), "in use")

    @pytest.mark.parametrize("which", ["index=0", "name=homing.socket"])
    def test_a_systemd_socket_that_was_not_inherited_is_said_in_a_line(
        self, tmp_path: Path, which: str
    ) -> None:
        path = config(tmp_path, f'[balancer]\nlisten = ["systemd:domain=INET:{which}"]')
        ran = twistd("homing-balancer", "--config", path, cwd=tmp_path)
        refused(ran, 1, "cannot listen", which, "no such socket was inherited")

    def test_its_timers_do_not_follow_jumps_of_the_wall_clock(self, tmp_path: Path) -> None:
        """Twisted asks time.time: set back by an hour, no client that is late would be closed."""
        path = config(tmp_path, "")
        script = f"""
import time
from homing.farm.processes.options import BalancerOptions
from homing.farm.processes.tap import make_balancer
options = BalancerOptions()
options.parseOptions(["--config", {str(path)!r}])
make_balancer(options)
from twisted.internet import reactor
before, reactor_before = time.monotonic(), reactor.seconds()
call = reactor.callLater(5, print)
assert abs(reactor_before - before) < 5
assert abs(call.getTime() - before - 5) < 5
"""
        ran = python(script, cwd=tmp_path)
        assert ran.status == 0, ran.said

    def test_an_address_in_use_is_said_on_standard_error_as_farm_toml_has_it(
        self, tmp_path: Path
    ) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as one:
            listen = f"tcp6:{one.getsockname()[1]}:interface=::1"
            path = config(tmp_path, f'[balancer]\nlisten = ["{listen}"]')
            ran = twistd("homing-balancer", "--config", path, cwd=tmp_path)
        assert ran.status == 1
        assert ran.err == f"cannot listen at {listen}: Address already in use\n"


class TestServer:
    def test_a_config_and_a_name_are_asked_for(self, tmp_path: Path, server: Here) -> None:
        config(tmp_path, "")
        refused(server("--name", "s1"), 2, "--config is missing")
        refused(server("--config", "farm.toml"), 2, "--name is missing", "s1")

    @pytest.mark.parametrize("name", ["s9", "legacy"])
    def test_a_name_that_is_no_server_of_ours_is_said_with_those_there_are(
        self, tmp_path: Path, name: str, server: Here
    ) -> None:
        path = config(tmp_path, "")
        legacy = '[[server]]\nname = "legacy"\naddress = "tcp:10.0.0.6:8443"\nmanaged = false\n'
        path.write_text(path.read_text() + legacy)
        ran = server("--config", str(path), "--name", name)
        refused(ran, 2, str(path), f'"{name}"', "there are s1")

    def test_a_port_in_use_is_said_in_a_line(self, tmp_path: Path, busy: int) -> None:
        path = tmp_path / "farm.toml"
        path.write_text(f'[[server]]\nname = "s1"\naddress = "tcp:127.0.0.1:{busy}"\n')
        ran = twistd("homing-server", "--config", path, "--name", "s1", cwd=tmp_path)
        refused(ran, 1, "cannot listen", str(busy), "in use")
        assert ran.err == f"cannot listen at tcp:127.0.0.1:{busy}: Address already in use\n"

    def test_a_socket_in_use_is_said_and_left_to_its_owner(self, tmp_path: Path) -> None:
        path = config(tmp_path, "")
        with socket.socket(socket.AF_UNIX) as owner:
            owner.bind(str(tmp_path / "s1.sock"))
            owner.listen()
            ran = twistd("homing-server", "--config", path, "--name", "s1", cwd=tmp_path)
            refused(ran, 1, "s1.sock", "another process listens")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "s1.sock"))

    @pytest.mark.parametrize(
        ("app", "words"),
        [
            ("no_such_module:factory", ("no_such_module", "ModuleNotFoundError")),
            ("json:dumps", ("json:dumps", "TypeError")),
            ("bare", ("bare", "module:factory")),
        ],
    )
    def test_an_app_that_does_not_import_is_said(
        self, tmp_path: Path, app: str, words: tuple[str, ...], server: Here
    ) -> None:
        config(tmp_path, "")
        refused(server("--config", "farm.toml", "--name", "s1", "--app", app), 2, *words)

    def test_a_certificate_that_is_not_there_is_named(self, tmp_path: Path, server: Here) -> None:
        config(tmp_path, '[tls]\ncertificate = "lost.pem"\nkey = "lost.key"')
        ran = server("--config", "farm.toml", "--name", "s1")
        refused(ran, 2, str(tmp_path / "lost.pem"), "No such file")

    def test_a_state_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        path = config(tmp_path, "", "file")
        ran = twistd("homing-server", "--config", path, "--name", "s1", cwd=tmp_path)
        refused(ran, 1, str(tmp_path / "file"))


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
        config(tmp_path, "")
        refused(here(FarmOptions(), make_farm, *arguments), 2, *words)
        assert [path.name for path in tmp_path.iterdir()] == ["farm.toml"]

    def test_a_process_refuses_them_as_well(self, tmp_path: Path) -> None:
        refused(twistd("homing-farm", "--servers", "0", cwd=tmp_path), 2, "--servers 0", "1 to")
        assert not list(tmp_path.iterdir())

    def test_a_farm_whose_servers_cannot_start_ends_soon_and_says_why(self, tmp_path: Path) -> None:
        began = time.monotonic()
        arguments = ("--listen", LISTEN, "--state-dir", "state", "--servers", "2")
        ran = twistd("homing-farm", *arguments, "--app", "no_such_module:x", cwd=tmp_path)
        assert time.monotonic() - began < 20
        assert ran.status == 1
        assert "app 'no_such_module:x': ModuleNotFoundError" in ran.said
        (failed,) = [line for line in ran.out.splitlines() if "could not start" in line]
        assert "error: s" in failed
        assert "starts again" not in ran.said
        assert "warn" not in ran.said
        assert any("error: app 'no_such_module:x'" in line for line in ran.out.splitlines())
        assert "homing-farm ready" not in ran.said
        assert "Traceback" not in ran.said
        left = {path.name for path in (tmp_path / "state").iterdir()}
        assert not {name for name in left if name.endswith((".sock", ".json", ".lock", ".new"))}

    def test_a_farm_whose_port_is_in_use_ends_soon_and_says_why(
        self, tmp_path: Path, busy: int
    ) -> None:
        listen = f"tcp:{busy}:interface=127.0.0.1"
        arguments = ("--listen", listen, "--state-dir", "state", "--servers", "1")
        ran = twistd("homing-farm", *arguments, cwd=tmp_path)
        assert ran.status == 1
        assert "Traceback" not in ran.said
        (why,) = [line for line in ran.said.splitlines() if "cannot listen" in line]
        assert str(busy) in why
        assert len(ran.said.splitlines()) == 1, "it began before it could not go on"
        left = {path.name for path in (tmp_path / "state").iterdir()}
        assert not {name for name in left if name.endswith((".sock", ".json", ".lock", ".new"))}

    def test_a_state_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        ran = twistd("homing-farm", "--state-dir", "file", cwd=tmp_path)
        refused(ran, 1, str(tmp_path / "file"))


def test_every_plugin_has_help_with_an_example(tmp_path: Path) -> None:
    plugins = {
        "homing-farm": ("--servers", "--listen", "--state-dir", "--scheme", "--relay", "--config"),
        "homing-balancer": ("--config",),
        "homing-server": ("--config", "--name", "--app"),
    }
    runs = at_once(*(partial(twistd, plugin, "--help", cwd=tmp_path) for plugin in plugins))
    for (plugin, options), ran in zip(plugins.items(), runs, strict=True):
        assert ran.status == 0
        assert [option for option in options if option not in ran.out] == []
        assert f"twistd -n {plugin}" in " ".join(ran.out.split())


def test_twistd_lists_the_plugins(tmp_path: Path) -> None:
    listed = twistd("--help", cwd=tmp_path).out
    assert [name in listed for name in ("homing-farm", "homing-balancer", "homing-server")] == [
        True
    ] * 3


@pytest.mark.parametrize("limit", [8, 10, 20])
@pytest.mark.parametrize("plugin", [["homing-balancer"], ["homing-server", "--name", "s1"]])
def test_a_process_with_too_few_descriptors_says_how_many_it_needs(
    tmp_path: Path, plugin: list[str], limit: int
) -> None:
    path = config(tmp_path, "")
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
sys.argv = ["twistd", "-n", "--pidfile=", *{plugin!r}, "--config", {str(path)!r}]
{TWISTD[-1]}
"""
    ran = python(script, cwd=tmp_path)
    assert ran.status == 1
    assert ran.said.startswith(f"only {limit} open files are allowed, and a ")
    assert ran.said.count("\n") == 1
