"""The registry's URL: members are found, and what is wrong is said."""

from __future__ import annotations

import pytest

from homing.shared.registry.etcd.url import Member, members


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            "etcd:https://10.0.0.7:2379,https://e2.example.org:2479",
            (Member("10.0.0.7"), Member("e2.example.org", 2479)),
        ),
        ("etcd:https://10.0.0.7", (Member("10.0.0.7", 2379),)),
        ("etcd:https://10.0.0.7/, https://10.0.0.8", (Member("10.0.0.7"), Member("10.0.0.8"))),
        ("etcd:https://[2001:db8::1]:1", (Member("2001:db8::1", 1),)),
        ("etcd:http://127.0.0.1:1", (Member("127.0.0.1", 1, False),)),
        ("etcd:http://127.9.0.1:1", (Member("127.9.0.1", 1, False),)),
        ("etcd:http://[::1]:1", (Member("::1", 1, False),)),
        ("etcd:http://localhost:1", (Member("localhost", 1, False),)),
    ],
)
def test_members_are_found(url: str, found: tuple[Member, ...]) -> None:
    assert members(url) == found
    assert members("etcd:" + ",".join(map(str, found))) == found


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("sqlite:x", "does not begin with etcd:"),
        ("etcd:", "is not https://HOST:PORT"),
        ("etcd:10.0.0.7:2379", "is not https://HOST:PORT"),
        ("etcd:ftp://10.0.0.7", "is not https://HOST:PORT"),
        ("etcd:https://:2379", "is not https://HOST:PORT"),
        ("etcd:https://10.0.0.7,", "is not https://HOST:PORT"),
        ("etcd:https://10.0.0.7:0", "is not https://HOST:PORT"),
        ("etcd:https://10.0.0.7:65536", "65536|range"),
        ("etcd:https://10.0.0.7:x", "x"),
        ("etcd:https://[::1", "IPv6"),
        ("etcd:https://user:secret@10.0.0.7", "more than"),
        ("etcd:https://10.0.0.7/v3", "more than"),
        ("etcd:https://10.0.0.7?a", "more than"),
        ("etcd:https://a b", "no host name"),
        ("etcd:https://b\u00fccher.example", "no host name"),
        ("etcd:http://10.0.0.7", "loopback addresses only"),
        ("etcd:http://localhost.example.org", "loopback addresses only"),
        ("etcd:https://10.0.0.7,https://10.0.0.7:2379", "named twice"),
        ("etcd:" + ",".join(f"https://h{number}" for number in range(17)), "16 at most"),
    ],
)
def test_what_is_wrong_is_said(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        members(url)
