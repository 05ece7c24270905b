"""homing explain: where an identifier or a ClientHello goes, step by step as in Fig. 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Decision, Reason, Rules, decide
from homing.balancer.table import ShareEntry
from homing.farm.commands import parsing
from homing.farm.commands.check import describe, keys_made_later
from homing.farm.config.farm_toml import FarmConfig, load
from homing.farm.config.faults import InvalidConfig
from homing.farm.plan import Plan, look
from homing.shared.candidates import Candidate, Carrier, candidates
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
    command.add_argument("--config", required=True, type=Path, metavar="farm.toml")
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
    """What came in, in words and parsed.  Raises InvalidConfig for what cannot be read."""
    if options.hello is None:
        try:
            identifier = parse_hex(options.identifier)
        except ValueError as error:
            raise InvalidConfig(Path("HEX"), [str(error)]) from None
        return "a ClientHello that brings this identifier", ClientHello(0x0303, identifier)
    try:
        data = options.hello.read_bytes()
    except OSError as error:
        raise InvalidConfig(options.hello, [f"cannot be read: {error.strerror}"]) from error
    hello = ClientHelloReader(longest).feed(data)
    if isinstance(hello, NeedMore):
        raise InvalidConfig(
            options.hello, [f"the ClientHello is cut off: at least {hello.at_least} bytes more"]
        )
    return f"the {len(data)} bytes of {options.hello}", hello


def steps(
    config: FarmConfig, result: Plan, received: str, hello: ClientHello | NotClientHello
) -> Iterator[tuple[str, str]]:
    """The steps of Fig. 2, each as its number and what happens there."""
    table = result.table
    section = config.balancer
    rules = Rules(
        table, RoundRobin(), section.ignore_ids, section.not_tls == "close", result.groups
    )
    names = [server.name for server in config.server]
    decision = decide(rules, hello, names, "")

    yield "202", f"received: {received}"
    yield "204", "part of a session in progress? No: it opens a TCP connection (others stay, 206)"
    yield from _what_it_brings(rules, hello)
    brought = () if isinstance(hello, NotClientHello) or section.ignore_ids else candidates(hello)
    for candidate in brought:
        entry = table.find(candidate.identifier)
        kind = "" if entry and entry.owner in names else "the group "
        found = f"an entry of {kind}{entry.owner}" if entry else "no entry"
        yield "212", f"find {_named(candidate)} in table 130: {found}"
        if isinstance(entry, ShareEntry):
            yield "", f"the scheme {entry.share.scheme.name} says so"
        elif entry:
            yield from (("", line) for line in describe(entry.id_set).splitlines())
        if entry:
            break
    yield from _where_it_goes(config, rules, decision, names)


def _what_it_brings(rules: Rules, hello: ClientHello | NotClientHello) -> Iterator[tuple[str, str]]:
    question = "a ClientHello with an identifier?"
    if isinstance(hello, NotClientHello):
        yield "208", f"{question} No ClientHello: {hello.reason}"
        return
    brought = candidates(hello)
    answer = "Yes" if brought else "No identifier"
    ignored = ", but identifiers are ignored here" if brought and rules.ignore_ids else ""
    yield "208", f"{question} {answer}{ignored}: {_said_besides(hello)}"
    yield from (("", _named(candidate)) for candidate in brought)


def _said_besides(hello: ClientHello) -> str:
    """What the balancer does not read, and the server will."""
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


def _where_it_goes(
    config: FarmConfig, rules: Rules, decision: Decision, names: list[str]
) -> Iterator[tuple[str, str]]:
    policy = config.balancer.policy
    group = rules.groups.get(decision.owner or "", ())
    if decision.reason is Reason.REFUSED:
        yield "210", 'closed, since balancer.not_tls is "close"'
    elif decision.reason is Reason.GROUP:
        yield "214", f"forward to one of {', '.join(group)}, which share sessions: by {policy}"
        yield "", _while_down(group, names)
    elif decision.reason in (Reason.OWNER, Reason.DEFAULT_SERVER):
        server = next(one for one in config.server if one.name == decision.server)
        why = "" if decision.reason is Reason.OWNER else ", the default server"
        yield "214", f"forward to {server.name}{why}, at {server.address}"
        fellows = [name for name in group if name != server.name]
        if fellows:
            yield (
                "",
                (
                    f"while {server.name} is down, {' or '.join(fellows)} of its group gets it and "
                    "resumes its session"
                ),
            )
        yield "", _while_down((server.name, *fellows), names)
    else:
        yield "210", f"the policy {policy} chooses one of {', '.join(names)}"
        if decision.reason is Reason.UNLISTED:
            yield "", "so it is no session of this farm: random, expired long ago, or foreign"


def _while_down(owners: Sequence[str], names: Sequence[str]) -> str:
    if len(owners) == len(names):
        return "while none of them is up, nobody gets it"
    who = f"{owners[0]} is down" if len(owners) == 1 else f"all of {', '.join(owners)} are down"
    return f"while {who}, the policy chooses another server"
