"""The ClientHello parser against tlslite-ng's, on recorded hellos and mutations of them.

tlslite-ng also parses extensions that Homing does not read, and refuses a hello where one is
malformed; `unread_hidden` takes that difference away.  Where tlslite-ng is more lenient,
`broken_rules` names the rule of the RFC, from what tlslite-ng itself read, that makes Homing refuse
the hello.  What Homing does not need for routing it refuses only when it is asked for, so it is
asked for here; the binders it leaves to the server.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from tlslite.constants import ExtensionType
from tlslite.messages import ClientHello as TlsliteHello
from tlslite.utils.codec import DecodeError, Parser

from homing.shared.client_hello import ClientHello
from homing.shared.fields import Malformed
from homing.shared.hello_details import alpn, server_name, versions
from tests.costly_hellos import read_body
from tests.sample_hellos import (
    ALPN,
    PRE_SHARED_KEY,
    READ,
    SAMPLES,
    SERVER_NAME,
    SESSION_TICKET,
    SUPPORTED_VERSIONS,
    Extension,
    Parts,
    Sample,
    psk_offer,
    take_apart,
    vector,
)

UNKNOWN = 0x5A5A


@attrs.frozen
class Read:
    """What a parser made of a hello, in terms both can be put in."""

    version: int
    session_id: bytes
    identities: tuple[bytes, ...]
    ticket: bytes | None
    name: str | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]


@attrs.frozen
class Theirs:
    """What tlslite-ng read, and the rules the hello breaks nevertheless."""

    read: Read
    broken_rules: frozenset[str]


def theirs_of(body: bytes) -> Theirs | None:
    """What tlslite-ng makes of `body`; None where it refuses it."""
    try:
        hello = TlsliteHello().parse(Parser(bytearray(vector(3, body))))
    except DecodeError:
        return None
    listed = hello.extensions or []
    by_kind = {extension.extType: extension for extension in listed}
    names = by_kind.get(ExtensionType.server_name)
    psk = by_kind.get(ExtensionType.pre_shared_key)
    ticket = by_kind.get(ExtensionType.session_ticket)
    protocols = by_kind.get(ExtensionType.alpn)
    offered = by_kind.get(ExtensionType.supported_versions)
    kinds = [extension.extType for extension in listed]
    identities = (psk.identities or []) if psk else []
    server_names = (names.serverNames or []) if names else []
    rules = {
        "RFC 8446, 4.1.2: the legacy version is one of TLS": hello.client_version[0] != 3,
        "RFC 8446, 4.1.2: at least one cipher suite": not hello.cipher_suites,
        "RFC 8446, 4.1.2: at least one compression method": not hello.compression_methods,
        "RFC 8446, 4.2: no extension comes twice": any(kinds.count(kind) > 1 for kind in READ),
        "RFC 8446, 4.2.11: pre_shared_key is last": PRE_SHARED_KEY in kinds[:-1],
        "RFC 8446, 4.2.11: at least one identity": psk is not None and not identities,
        "RFC 8446, 4.2.11: no identity is empty": not all(each.identity for each in identities),
        "RFC 6066, 3: one name": names is not None and len(server_names) != 1,
        "RFC 6066, 3: which is a host name": any(n.name_type != 0 for n in server_names),
        "RFC 6066, 3: and not empty": not all(n.name for n in server_names),
        "RFC 7301, 3.1: at least one protocol": protocols is not None
        and not protocols.protocol_names,
        "RFC 7301, 3.1: none empty": protocols is not None and not all(protocols.protocol_names),
        "RFC 8446, 4.2.1: at least one version": offered is not None and not offered.versions,
    }
    version = hello.client_version[0] << 8 | hello.client_version[1]
    read = Read(
        version,
        bytes(hello.session_id),
        tuple(bytes(each.identity) for each in identities),
        None if ticket is None else bytes(ticket.ticket),
        shown(tuple(bytes(n.name) for n in server_names)),
        tuple(map(bytes, protocols.protocol_names)) if protocols else (),
        tuple(v[0] << 8 | v[1] for v in (offered.versions or [])) if offered else (version,),
    )
    return Theirs(read, frozenset(rule for rule, broken in rules.items() if broken))


def shown(names: tuple[bytes, ...]) -> str | None:
    return names[0].decode("ascii", "backslashreplace") if names else None


def ours_of(body: bytes) -> Read | None:
    """What Homing makes of `body`, asked for all it can read; None where it refuses that."""
    hello = read_body(body)
    if not isinstance(hello, ClientHello):
        return None
    try:
        more = server_name(hello), alpn(hello), versions(hello)
    except Malformed:
        return None
    return Read(
        hello.legacy_version, hello.session_id, hello.psk_identities, hello.session_ticket, *more
    )


def check(body: bytes) -> str:
    """Both parsers agree on `body`; returns how, for hypothesis to count."""
    ours, theirs = ours_of(body), theirs_of(with_sound_binders(body))
    if theirs is None:
        assert ours is None, "we accept what tlslite-ng refuses"
        return "both refuse"
    if theirs.broken_rules:
        assert ours is None, theirs.broken_rules
        return f"only we refuse: {min(theirs.broken_rules)}"
    assert ours == theirs.read
    return "both accept"


def with_sound_binders(body: bytes) -> bytes:
    """`body` with one sound binder, if there is a list of binders that ends where it should."""
    try:
        parts = take_apart(body)
    except ValueError:
        return body
    listed = []
    for kind, content in parts.extensions or ():
        at = 2 + int.from_bytes(content[:2], "big")
        ends = at + 2 + int.from_bytes(content[at : at + 2], "big")
        if kind == PRE_SHARED_KEY and len(content) == ends >= at + 2:
            content = content[:at] + vector(2, vector(1, bytes(32)))
        listed.append((kind, content))
    return body if parts.extensions is None else parts.having(*listed).body


def unread_hidden(body: bytes) -> bytes:
    """`body` with the extensions that Homing does not read under a number nobody knows."""
    try:
        parts = take_apart(body)
    except ValueError:
        return body
    if parts.extensions is None:
        return body
    return parts.having(*((k if k in READ else UNKNOWN, x) for k, x in parts.extensions)).body


samples = st.sampled_from(SAMPLES).map(lambda recorded: recorded.body)


@st.composite
def flipped(draw: st.DrawFn) -> bytes:
    """A sample with a few bytes changed, mostly where the lengths and the read fields are."""
    body = bytearray(draw(samples))
    late = st.integers(0, 60).map(lambda back: len(body) - 1 - back)
    for at in draw(st.lists(st.integers(0, len(body) - 1) | late, min_size=1, max_size=4)):
        body[at] = draw(st.sampled_from([0, 1, 255, body[at] ^ 1]) | st.integers(0, 255))
    return bytes(body)


@st.composite
def shortened(draw: st.DrawFn) -> bytes:
    """A sample cut off inside, its lengths put right on one level or on none."""
    parts = take_apart(draw(samples))
    extensions = parts.extensions or ()
    level = draw(st.sampled_from(["body", "extensions", "an extension"]))
    if level == "body":
        body = parts.body
        return body[: draw(st.integers(0, len(body)))]
    if level == "extensions":
        bare = attrs.evolve(parts, extensions=None).body
        listed = parts.body[len(bare) + 2 :]
        return bare + vector(2, listed[: draw(st.integers(0, len(listed)))])
    at = draw(st.integers(0, len(extensions) - 1))
    kind, content = extensions[at]
    cut = (kind, content[: draw(st.integers(0, len(content)))])
    return parts.having(*extensions[:at], cut, *extensions[at + 1 :]).body


@st.composite
def rearranged(draw: st.DrawFn) -> bytes:
    """A sample with its extensions in another order, some gone, some doubled."""
    parts = take_apart(draw(samples))
    extensions = list(parts.extensions or ())
    if draw(st.booleans()):
        extensions = draw(st.permutations(extensions))
    for _ in range(draw(st.integers(0, 2))):
        if extensions:
            extensions.pop(draw(st.integers(0, len(extensions) - 1)))
    doubled = bool(extensions) and draw(st.sampled_from([False, True]))
    if doubled:
        again = extensions[draw(st.integers(0, len(extensions) - 1))]
        extensions.insert(draw(st.integers(0, len(extensions))), again)
    return parts.having(*extensions).body


def damaged(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly `content` as it is; else with a byte changed, cut off or added, or anything."""

    def damage(content: bytes) -> st.SearchStrategy[bytes]:
        places = st.integers(0, max(0, len(content) - 1))
        changed = st.builds(
            lambda at, by: content[:at] + bytes([by]) + content[at + 1 :],
            places,
            st.integers(0, 3) | st.integers(0, 255),
        )
        cut = places.map(lambda at: content[:at])
        return st.just(content) | changed | cut | st.just(content + b"\0") | st.binary(max_size=9)

    return content.flatmap(damage)


def lists_of(size: int, most: int) -> st.SearchStrategy[bytes]:
    """A vector of up to three vectors whose lengths take `size` bytes."""
    return st.lists(st.binary(max_size=most).map(lambda x: vector(size, x)), max_size=3).map(
        b"".join
    )


names = st.lists(
    st.builds(
        lambda kind, name: bytes([kind]) + vector(2, name),
        st.sampled_from([0, 0, 0, 1]),
        st.binary(max_size=9),
    ),
    max_size=2,
).map(lambda listed: vector(2, b"".join(listed)))
offers = st.builds(
    lambda identities, binders: psk_offer(identities, binders)[1],
    st.lists(st.binary(max_size=40), max_size=3),
    st.lists(st.binary(min_size=31, max_size=48), max_size=3),
)
CONTENTS: dict[int, st.SearchStrategy[bytes]] = {
    SERVER_NAME: damaged(names),
    ALPN: damaged(lists_of(1, 9).map(lambda listed: vector(2, listed))),
    SESSION_TICKET: st.binary(max_size=200),
    SUPPORTED_VERSIONS: damaged(st.binary(max_size=9).map(lambda listed: vector(1, listed))),
    PRE_SHARED_KEY: damaged(offers),
}
made_up_extensions: st.SearchStrategy[Extension] = st.sampled_from(sorted(CONTENTS)).flatmap(
    lambda kind: CONTENTS[kind].map(lambda content: (kind, content))
)
made_up = st.builds(
    Parts,
    st.sampled_from([b"\3\3", b"\3\3", b"\3\3", b"\3\1", b"\2\0", b"\xfe\xfd"]),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([b"", bytes(32)]) | st.binary(max_size=34),
    st.sampled_from([b"\x13\1", b"\x13\1\xc0\x2b"]) | st.binary(max_size=6),
    st.sampled_from([b"\0", b"\0", b"\1\0", b""]),
    st.none() | st.lists(made_up_extensions, max_size=4).map(tuple),
).map(lambda parts: parts.body)


@pytest.mark.parametrize("recorded", SAMPLES, ids=lambda recorded: recorded.name)
def test_real_clients_are_read_as_tlslite_reads_them(recorded: Sample) -> None:
    assert check(recorded.body) == "both accept"
    assert check(unread_hidden(recorded.body)) == "both accept"


@settings(max_examples=600)
@given(flipped() | shortened() | rearranged())
def test_a_damaged_hello_is_read_as_tlslite_reads_it(body: bytes) -> None:
    event(check(unread_hidden(body)))


@settings(max_examples=600)
@given(made_up)
@example(Parts().having(psk_offer([b"a", b"b"], [bytes(32), bytes(48)])).body)
def test_a_made_up_hello_is_read_as_tlslite_reads_it(body: bytes) -> None:
    event(check(unread_hidden(body)))


def test_a_malformed_extension_that_homing_does_not_read_does_not_stop_a_client() -> None:
    body = Parts().having((ExtensionType.supported_groups, b"\0\3\0\x1d\0")).body
    assert theirs_of(body) is None
    assert isinstance(read_body(body), ClientHello)
