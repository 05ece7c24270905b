"""Three members over TLS: any of them may die, and nobody without a certificate gets in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from homing.certs.registry import registry_certificates
from homing.shared.registry.etcd import EtcdRegistry, load_tls, members
from homing.shared.registry.interface import Refused, Registry, Transaction, Unavailable
from tests.etcd_process import needs_etcd
from tests.reactor import call, eventually, reactor
from tests.shared.registry.etcd.cluster import Cluster, cluster
from tests.shared.registry.rig import Client
from tests.tcp_proxy import tcp_proxy

pytestmark = needs_etcd

PREFIXES = count()


@pytest.fixture(name="three", scope="module")
def _three() -> Iterator[Cluster]:
    with cluster() as one:
        yield one


@pytest.fixture
def client() -> Iterator[Callable[[EtcdRegistry], Client]]:
    made: list[Client] = []

    def keep(registry: EtcdRegistry) -> Client:
        made.append(Client(registry))
        return made[-1]

    yield keep
    for one in made:
        one.close()


def test_the_leader_is_killed_and_nothing_is_lost(
    three: Cluster, client: Callable[[EtcdRegistry], Client]
) -> None:
    prefix, leader = f"{next(PREFIXES)}/", three.leader
    clients = [client(call(three.client, prefix, one)) for one in three.members]
    followers = [one.follow() for one in clients]
    half_way: Deferred[None] = Deferred()

    async def put_many(registry: Registry, name: str, times: int) -> None:
        """Put keys one after the other; one that has not been answered is put until it is there."""
        for number in range(times):
            if number == times // 2 and not half_way.called:
                half_way.callback(None)
                leader.kill()
            key = f"{name}/{number}"
            while True:
                try:
                    await registry.commit(Transaction({key: 0}, {key: b"1"}))
                    break
                except Unavailable:
                    pass

    def begin() -> Deferred[list[None]]:
        return gatherResults(
            [
                Deferred.fromCoroutine(put_many(one.itself, str(number), 40))
                for number, one in enumerate(clients)
            ]
        )

    call(begin)
    expected = {f"{name}/{number}": b"1" for name in range(3) for number in range(40)}
    assert clients[0].values() == expected
    for follower in followers:
        follower.sees(expected)
        assert [batch.is_whole for batch in follower.batches].count(True) == 1
    leader.start(three.initial)
    eventually(leader.works, "the member is back")


def test_a_member_that_hangs_is_left(
    three: Cluster, client: Callable[[EtcdRegistry], Client]
) -> None:
    prefix = f"{next(PREFIXES)}/"
    (hung, other) = [one for one in three.members if not one.leads()]
    near, far = (client(call(three.client, prefix, one)) for one in (other, hung))
    followed = far.follow()
    near.put("a", b"1")
    followed.sees({"a": b"1"})
    hung.hang()
    try:
        near.put("b", b"1")
        followed.sees({"a": b"1", "b": b"1"})
        far.put("c", b"1")
    finally:
        hung.go_on()
    followed.sees({"a": b"1", "b": b"1", "c": b"1"})


@pytest.fixture(name="others", scope="module")
def _others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of another CA."""
    folder = tmp_path_factory.mktemp("others")
    registry_certificates(folder, {"e1": ["127.0.0.1"]})
    return folder


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("trusts another CA", "certificate verify failed"),
        ("has no certificate", "certificate"),
        ("is of another farm", "certificate"),
        ("has one that has ended", "certificate"),
    ],
)
def test_who_is_not_of_the_farm_is_refused_and_told_why(
    three: Cluster,
    others: Path,
    tmp_path: Path,
    client: Callable[[EtcdRegistry], Client],
    who: str,
    why: str,
) -> None:
    made = three.certificates
    ca, certificate, key = made.ca.certificate, made.farm.certificate, made.farm.key
    if who == "trusts another CA":
        ca = others / "registry-ca.pem"
    elif who == "is of another farm":
        certificate, key = others / "farm.pem", others / "farm-key.pem"
    elif who == "has one that has ended":
        certificate, key = ended(made.ca.certificate, made.ca.key, tmp_path)
    has_one = who != "has no certificate"
    security = load_tls(ca, certificate, key) if has_one else load_tls(ca, None, None)
    stranger = client(call(lambda: three.client("x/", security=security)))
    with pytest.raises(Refused, match=why) as told:
        stranger.put("a", b"1")
    assert all(one.client in str(told.value) for one in three.members)
    assert "\n" not in str(told.value)
    followed = stranger.follow()
    eventually(lambda: "certificate" in str(followed.failure), "its follower is told, too")


def test_a_member_reached_by_a_name_that_is_not_in_its_certificate_is_not_trusted(
    three: Cluster, client: Callable[[EtcdRegistry], Client]
) -> None:
    with tcp_proxy(three.members[0].port) as proxy:
        host = proxy.address.replace("127.0.0.1", "localhost")
        url = f"etcd:https://{host}"
        far = client(call(lambda: EtcdRegistry(members(url), reactor(), security=three.tls())))
        with pytest.raises(Refused, match=f"https://{host}: .* for another name"):
            far.read()


def ended(ca: Path, ca_key: Path, folder: Path) -> tuple[Path, Path]:
    """A certificate of the farm's CA that has ended."""
    for path in (ca, ca_key):
        (folder / path.name).write_bytes(path.read_bytes())
    long_ago = datetime.now(UTC) - timedelta(days=1000)
    made = registry_certificates(folder, {}, long_ago)
    return made.farm.certificate, made.farm.key
