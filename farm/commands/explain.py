"""homing explain: where an identifier or a ClientHello goes, step by step as in Fig. 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from homing.balancer.divided import Excepted
from homing.balancer.follower import Routes
from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Decision, Reason, Rules, Step, decide
from homing.balancer.table import Entry
from homing.farm.commands import parsing
from homing.farm.commands.looking import present, remark
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import printable
from homing.farm.config.sections import FarmConfig
from homing.farm.present import Present
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
    found = present(config)
    out = parsing.stdout()
    for step, text in steps(config, found, received, hello):
        out.print(f"{step:<5}{printable(text)}", soft_wrap=True)
    remark(found)
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
    config: FarmConfig, found: Present, received: str, hello: ClientHello | NotClientHello
) -> Iterator[tuple[str, str]]:
    """The steps of Fig. 2 that `decide` went through, each as its number and what happened."""
    section, routes = config.balancer, found.routes
    rules = Rules(
        routes.table,
        RoundRobin(),
        section.ignore_ids,
        section.not_tls == "close",
        routes.groups,
        draining=routes.draining,
    )
    decision = decide(rules, hello, list(routes.servers), "")
    yield "202", f"received: {received}"
    yield "204", "part of a session in progress? No: it opens a TCP connection (others stay, 206)"
    for step in decision.steps:
        number = str(step[0])
        for line in _in_words(step, hello, decision, config, found):
            yield number, line
            number = ""
    if decision.reason is Reason.REFUSED:
        yield "210", 'closed, since balancer.not_tls is "close"'


def _in_words(
    step: Step,
    hello: ClientHello | NotClientHello,
    decision: Decision,
    config: FarmConfig,
    present: Present,
) -> Sequence[str]:
    policy, routes = config.balancer.policy, present.routes
    match step:
        case 208, brought:
            return _what_it_brings(hello, brought, decision.reason)
        case 212, candidate, found:
            return _what_is_found(candidate, found, present)
        case 214, _:
            return _where_it_goes(policy, decision, routes)
        case _:
            names = ", ".join(_takers(routes)) or "nobody: no server takes new clients"
            line = f"the policy {policy} chooses one of {names}"
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


def _takers(routes: Routes) -> list[str]:
    """The servers that get new clients."""
    return [name for name in routes.servers if name not in routes.draining]


def _what_is_found(
    candidate: Candidate, found: Entry | str | None, present: Present
) -> Sequence[str]:
    begin = f"find {_named(candidate)} in table 130{present.source}: "
    if found is None or isinstance(found, str):
        return [begin + "no entry"]
    kind = "an exception" if isinstance(found.part, Excepted) else "an entry"
    who = found.owner
    if who not in present.routes.servers:
        is_group = who in present.routes.groups
        who = f"the group {who}" if is_group else f"{who}, which is not of the farm any more"
    return [f"{begin}{kind} of {who}", *found.part.describe().splitlines()]


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


def _where_it_goes(policy: str, decision: Decision, routes: Routes) -> Sequence[str]:
    group = routes.groups.get(decision.owner or "", ())
    if decision.reason is Reason.GROUP:
        who = ", ".join(group)
        return [
            f"forward to one of {who}, which share sessions: by {policy}",
            _while_down(group, routes),
        ]
    server = decision.server
    assert server is not None
    why = ", the default server" if decision.reason is Reason.DEFAULT_SERVER else ""
    why += ", which gets no new clients" if server in routes.draining else ""
    lines = [f"forward to {server}{why}, at {routes.servers[server].address}"]
    others = [name for name in group if name != server]
    if others:
        lines.append(
            f"while {server} is down, {' or '.join(others)} of its group gets it and "
            "resumes its session"
        )
    return [*lines, _while_down((server, *others), routes)]


def _while_down(owners: Sequence[str], routes: Routes) -> str:
    if set(_takers(routes)) <= set(owners):
        return "while none of them is up, nobody gets it"
    who = f"{owners[0]} is down" if len(owners) == 1 else f"all of {', '.join(owners)} are down"
    return f"while {who}, the policy chooses another server"
