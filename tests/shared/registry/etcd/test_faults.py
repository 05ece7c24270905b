"""What networks do to an etcd's clients, and etcd itself: nothing is lost, everything goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred

from homing.shared.registry.etcd import EtcdRegistry, follow, gateway, members, registry
from homing.shared.registry.interface import Batch, Transaction, Unavailable
from tests.etcd_process import EtcdProcess, needs_etcd, one_etcd
from tests.logs import log
from tests.reactor import call, eventually, reactor
from tests.shared.registry.rig import Client, EtcdRig
from tests.tcp_proxy import TcpProxy, tcp_proxy

pytestmark = needs_etcd


@pytest.fixture
def rig(etcd: EtcdProcess) -> EtcdRig:
    return EtcdRig(etcd)


@pytest.fixture
def proxy(etcd: EtcdProcess) -> Iterator[TcpProxy]:
    with tcp_proxy(etcd.port) as one:
        yield one


@pytest.fixture
def far(rig: EtcdRig, proxy: TcpProxy) -> Iterator[Client]:
    """A client behind the proxy."""
    url = f"etcd:http://{proxy.address}"
    made = Client(call(lambda: EtcdRegistry(members(url), reactor(), prefix=rig.prefix)))
    yield made
    made.close()


@pytest.fixture
def near(rig: EtcdRig) -> Iterator[Client]:
    made = Client(call(rig.client))
    yield made
    made.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gateway, registry):
        monkeypatch.setattr(module, "TIMEOUT", 1.5)
    monkeypatch.setattr(follow, "_PAUSES", (0.01, 0.05))
    monkeypatch.setattr(follow, "PROBE_EVERY", 0.2)
    monkeypatch.setattr(follow, "MOST_BEHIND", 0.5)


@pytest.mark.usefixtures("_impatient")
def test_a_connection_cut_at_any_byte_of_an_answer_does_no_harm(
    proxy: TcpProxy, far: Client, near: Client
) -> None:
    followed = far.follow()
    expected, unknown = {}, 0
    for number in range(60):
        key, value = f"k{number:02d}", b"%d" % number
        proxy.cut_after = 11 * number
        try:
            assert far.commit(Transaction({key: 0}, {key: value}))
        except Unavailable:
            unknown += 1
        proxy.cut_after = None
        while key not in near.values():
            near.commit(Transaction({key: 0}, {key: value}))
        expected[key] = value
        followed.sees(expected)
    assert 0 < unknown < 60
    assert near.values() == expected


def test_answers_that_are_late_are_waited_for(proxy: TcpProxy, far: Client) -> None:
    proxy.delay = 0.3
    followed = far.follow()
    far.put("a", b"1")
    followed.sees({"a": b"1"})


def test_a_request_that_arrives_twice_is_done_once(
    proxy: TcpProxy, far: Client, near: Client
) -> None:
    proxy.repeats = True
    for number in range(5):
        key = f"k{number}"
        lease = far.grant(60)
        revision = far.commit(Transaction({key: 0}, {key: b"1"}, lease=lease))
        # None: what was asked second was done first
        item = near.read().puts[key]
        assert revision in (None, item.revision)
        far.renew(lease)
        assert near.read().puts[key] == item
    proxy.repeats = False
    far.follow().sees({f"k{number}": b"1" for number in range(5)})


@pytest.mark.usefixtures("_impatient")
def test_what_is_never_answered_fails_in_time_and_goes_on_when_answers_come(
    proxy: TcpProxy, far: Client, near: Client
) -> None:
    followed = far.follow()
    eventually(lambda: followed.failure is None, "it follows")
    proxy.is_silent = True
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="no answer in time"):
        far.put("a", b"1")
    assert time.monotonic() - begun < 8
    eventually(lambda: followed.failure, "the follower says so")
    near.put("b", b"1")
    proxy.is_silent = False
    proxy.cut()
    followed.sees({"a": b"1", "b": b"1"})
    assert followed.failure is None
    assert [batch.is_whole for batch in followed.batches].count(True) == 1


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("lost", [b"POST /v3/watch", b"POST"], ids=["the watch", "all"])
def test_a_watch_that_was_lost_on_the_way_without_a_word_is_begun_again(
    proxy: TcpProxy, far: Client, near: Client, lost: bytes
) -> None:
    before = near.put("a", b"1")
    followed = far.follow()
    followed.sees({"a": b"1"})
    eventually(lambda: any(b"watch" in one.asked for one in proxy.connections), "it watches")
    proxy.silence(lost)
    near.put("a", b"2", before)
    followed.sees({"a": b"2"})


def test_what_was_compacted_while_a_follower_was_away_is_read_anew(
    rig: EtcdRig, proxy: TcpProxy, far: Client, near: Client
) -> None:
    a = near.put("a", b"1")
    followed = far.follow()
    followed.sees({"a": b"1"})
    proxy.refuses = True
    proxy.cut()
    near.delete("a", a)
    near.put("b", b"1")
    near.put("c", b"1")
    rig.compact()
    proxy.refuses = False
    followed.sees({"b": b"1", "c": b"1"})


def test_a_follower_that_was_away_gets_what_it_missed_and_no_more(
    proxy: TcpProxy, far: Client, near: Client
) -> None:
    near.put("a", b"1")
    followed = far.follow()
    followed.sees({"a": b"1"})
    proxy.refuses = True
    proxy.cut()
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        near.put(key, b"1")
    proxy.refuses = False
    followed.sees(dict.fromkeys(["a", *keys], b"1"))
    assert [batch.is_whole for batch in followed.batches].count(True) == 1


@pytest.mark.usefixtures("_impatient")
def test_an_etcd_that_was_restored_to_an_older_state_is_read_anew() -> None:
    with one_etcd() as etcd:
        rig = EtcdRig(etcd)
        client = Client(call(rig.client))
        try:
            followed = client.follow()
            for number in range(20):
                client.put(f"old{number}", b"1")
            followed.sees({f"old{number}": b"1" for number in range(20)})
            etcd.kill()
            shutil.rmtree(etcd.folder)
            etcd.start()
            eventually(etcd.works, "it works again")
            client.put("new", b"1")
            followed.sees({"new": b"1"})
        finally:
            client.close()


def test_a_registry_that_is_closed_fails_what_is_under_way(proxy: TcpProxy, far: Client) -> None:
    proxy.is_silent = True
    follow = far.follow()

    async def closed_meanwhile() -> str:
        reading = Deferred.fromCoroutine(far.itself.read())
        await far.itself.close()
        try:
            await reading
        except Unavailable as error:
            return str(error)
        return ""

    begun = time.monotonic()
    assert call(closed_meanwhile) == "the registry was closed"
    assert time.monotonic() - begun < 3
    follow.stop()


def test_an_outage_is_logged_once_and_so_is_its_end(proxy: TcpProxy, far: Client) -> None:
    with log("homing.shared.registry") as lines:
        followed = far.follow()
        eventually(lambda: followed.failure is None, "it follows")
        proxy.refuses = True
        proxy.cut()
        eventually(lambda: followed.failure, "it is out")
        time.sleep(0.5)
        proxy.refuses = False
        eventually(lambda: followed.failure is None, "it is back")
    assert [line for line in lines if "answers" in line] == ["the registry in etcd answers"]
    assert 1 <= len([line for line in lines if "fails" in line]) <= 3


def test_all_is_read_where_it_does_not_fit_into_one_answer(
    monkeypatch: pytest.MonkeyPatch, near: Client
) -> None:
    monkeypatch.setattr("homing.shared.registry.etcd.bodies.LARGEST", 200_000)
    monkeypatch.setattr(registry, "_PAGE", 7)
    expected = {f"k{number:03d}": bytes(30_000 * (number % 2)) for number in range(50)}
    for key, value in expected.items():
        near.put(key, value)
    assert near.values() == expected
    near.follow().sees(expected)


@pytest.mark.defect
def test_a_follower_that_fails_at_one_piece_of_news_gets_the_next(near: Client) -> None:
    told = []

    def receive(batch: Batch) -> None:
        told.append(batch)
        if len(told) < 3:
            raise ZeroDivisionError

    follow = call(near.itself.follow, receive)
    eventually(lambda: len(told) == 1, "all there is")
    for number in range(3):
        near.put(f"k{number}", b"value")
    eventually(lambda: "k2" in told[-1].puts, "the last change")
    assert sum(len(batch.puts) for batch in told) == 3, "each once"
    call(follow.stop)
