"""homing explain: where an identifier or a ClientHello goes, step by step as in Fig. 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Decision, Reason, Rules, Step, decide
from homing.balancer.table import Entry
from homing.farm.commands import parsing
from homing.farm.commands.check import keys_made_later
from homing.farm.config.farm_toml import load
from homing.farm.config.sections import FarmConfig
from homing.farm.plan import Plan, look
from homing.shared.candidates import Candidate, Carrier
from homing.shared.client_hello import ClientHello, ClientHelloReader, NeedMore, NotClientHello
from homing.shared.fields import Malformed
from homing.shared.hello_details import alpn, server_name, versions
from homing.shared.id_sets import parse_hex

_WORDS = {
    Carrier.PSK: "PSK identity",
    Carrier.TICKET: "session ticket, key name",
    Carrier.SESSION_ID: "session ID",
}
_VERSIONS = {0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "explain",
        "say where an identifier or a ClientHello goes, and why, step by step as in Fig. 2",
        "  homing explain --config farm.toml 484f4d45030f0644532270c2fcd4db09\n"
        "  homing explain --config farm.toml --hello hello.bin",
        run,
    )
    command.add_argument("-c", "--config", required=True, type=Path, metavar="farm.toml")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("identifier", nargs="?", metavar="HEX", help="1 to 32 bytes")
    what.add_argument(
        "--hello", type=Path, metavar="FILE", help="the first bytes of a connection, as sent"
    )


def run(options: argparse.Namespace) -> int:
    """Print the steps."""
    config = load(options.config)
    received, hello = _received(options, config.balancer.max_hello)
    result, made_later = look(config)
    out = parsing.stdout()
    for step, text in steps(config, result, received, hello):
        out.print(f"{step:<5}{text}", soft_wrap=True)
    for remark in keys_made_later(made_later):
        parsing.stderr().print(remark, soft_wrap=True)
    return 0


def _received(
    options: argparse.Namespace, longest: int
) -> tuple[str, ClientHello | NotClientHello]:
    """What came in, in words and parsed.  Raises InvalidArgument for what cannot be read."""
    if options.hello is None:
        try:
            identifier = parse_hex(options.identifier)
        except ValueError as error:
            raise parsing.InvalidArgument("HEX", str(error)) from None
        return "a ClientHello that brings this identifier", ClientHello(0x0303, identifier)
    try:
        data = options.hello.read_bytes()
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
        raise parsing.InvalidArgument(options.hello, fault) from error
    hello = ClientHelloReader(longest).feed(data)
    if isinstance(hello, NeedMore):
        fault = f"the ClientHello is cut off: at least {hello.at_least} bytes more"
        raise parsing.InvalidArgument(options.hello, fault)
    return f"the {len(data)} bytes of {options.hello}", hello


def steps(
    config: FarmConfig, result: Plan, received: str, hello: ClientHello | NotClientHello
) -> Iterator[tuple[str, str]]:
    """The steps of Fig. 2 that `decide` went through, each as its number and what happened."""
    section = config.balancer
    rules = Rules(
        result.table, RoundRobin(), section.ignore_ids, section.not_tls == "close", result.groups
    )
    names = [server.name for server in config.server]
    decision = decide(rules, hello, names, "")
    yield "202", f"received: {received}"
    yield "204", "part of a session in progress? No: it opens a TCP connection (others stay, 206)"
    for step in decision.steps:
        number = str(step[0])
        for line in _in_words(step, hello, decision, config, result):
            yield number, line
            number = ""
    if decision.reason is Reason.REFUSED:
        yield "210", 'closed, since balancer.not_tls is "close"'


def _in_words(
    step: Step,
    hello: ClientHello | NotClientHello,
    decision: Decision,
    config: FarmConfig,
    result: Plan,
) -> Sequence[str]:
    match step:
        case 208, brought:
            return _what_it_brings(hello, brought, decision.reason)
        case 212, candidate, found:
            return _what_is_found(candidate, found, config)
        case 214, _:
            return _where_it_goes(config, decision, result.groups.get(decision.owner or "", ()))
        case _:
            names = ", ".join(server.name for server in config.server)
            line = f"the policy {config.balancer.policy} chooses one of {names}"
            unlisted = "so it is no session of this farm: random, expired long ago, or foreign"
            return [line, unlisted] if decision.reason is Reason.UNLISTED else [line]


def _what_it_brings(
    hello: ClientHello | NotClientHello, brought: object, reason: Reason
) -> Sequence[str]:
    question = "a ClientHello with an identifier?"
    if isinstance(hello, NotClientHello):
        return [f"{question} No ClientHello: {hello.reason}"]
    assert isinstance(brought, tuple)
    answer = "Yes" if brought else "No identifier"
    ignored = ", but identifiers are ignored here" if brought and reason is Reason.IGNORED else ""
    return [f"{question} {answer}{ignored}: {_said_besides(hello)}", *map(_named, brought)]


def _what_is_found(
    candidate: Candidate, found: Entry | str | None, config: FarmConfig
) -> Sequence[str]:
    begin = f"find {_named(candidate)} in table 130: "
    if found is None or isinstance(found, str):
        return [begin + "no entry"]
    kind = "" if any(found.owner == server.name for server in config.server) else "the group "
    begin += f"an entry of {kind}{found.owner}"
    return [begin, *found.part.describe().splitlines()]


def _said_besides(hello: ClientHello) -> str:
    """What the hello says beside identifiers: the server reads it, the balancer does not."""
    said = [
        _or_malformed(lambda: f"offers TLS {', '.join(_spoken(versions(hello)))}"),
        _or_malformed(lambda: _after("to ", server_name(hello))),
        _or_malformed(lambda: _after("for ", ", ".join(map(_readable, alpn(hello))))),
    ]
    return " ".join(filter(None, said))


def _or_malformed(words: Callable[[], str]) -> str:
    try:
        return words()
    except Malformed as fault:
        return f"(malformed: {fault})"


def _after(word: str, text: str | None) -> str:
    return word + text if text else ""


def _readable(protocol: bytes) -> str:
    return protocol.decode("ascii", "backslashreplace")


def _spoken(offered: tuple[int, ...]) -> Iterator[str]:
    for version in offered:
        if version & 0x0F0F != 0x0A0A:  # GREASE, RFC 8701
            yield _VERSIONS.get(version, f"{version:#06x}")


def _named(candidate: Candidate) -> str:
    return f"{_WORDS[candidate.carrier]} {candidate.identifier.hex()}"


def _where_it_goes(config: FarmConfig, decision: Decision, group: tuple[str, ...]) -> Sequence[str]:
    names = [server.name for server in config.server]
    if decision.reason is Reason.GROUP:
        who = ", ".join(group)
        by = config.balancer.policy
        return [
            f"forward to one of {who}, which share sessions: by {by}",
            _while_down(group, names),
        ]
    server = next(one for one in config.server if one.name == decision.server)
    why = ", the default server" if decision.reason is Reason.DEFAULT_SERVER else ""
    lines = [f"forward to {server.name}{why}, at {server.address}"]
    others = [name for name in group if name != server.name]
    if others:
        lines.append(
            f"while {server.name} is down, {' or '.join(others)} of its group gets it and "
            "resumes its session"
        )
    return [*lines, _while_down((server.name, *others), names)]


def _while_down(owners: Sequence[str], names: Sequence[str]) -> str:
    if len(owners) == len(names):
        return "while none of them is up, nobody gets it"
    who = f"{owners[0]} is down" if len(owners) == 1 else f"all of {', '.join(owners)} are down"
    return f"while {who}, the policy chooses another server"
