"""The relay with brokers that lack replicas, are slow, full or gone: it waits, holds up nobody and loses nothing."""

import asyncio
import time
from collections.abc import Iterator

import confluent_kafka
import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from tests.relay.mock_cluster import NOT_ENOUGH_REPLICAS, MockCluster, mock_cluster
from tests.relay.source import WAIT_S, Source, assert_each_thing_in_order, until
from tests.relay.test_kafka import assert_each_key_in_order, numbers, producing, records

from amana.infra import publisher as publishing
from amana.infra.kafka import TOPIC_PARTITIONS, Message, Producer, Sent
from amana.infra.kafka_client import common
from amana.infra.kafka_message import message_of
from amana.infra.kafka_producer import QUEUE_MESSAGES_MAX
from amana.infra.lease import Lease
from amana.infra.publisher import PUBLISH_CHUNK_MIN, Publisher, topic_of
from amana.infra.sequencer import Sequencer

TOPIC = "broken"
REFUSALS_MAX = 100_000
"""More than a client can ask for within a test."""


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as opened:
        yield opened


def arrived(cluster: MockCluster, topic: str, different: int) -> list[Message]:
    """What stands in the topic, read until there are so many different messages. (These brokers keep no offsets and
    describe no topics, so it is a consumer of its own.)"""
    client = confluent_kafka.Consumer({**common(cluster.bootstrap), "group.id": "test"})
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(TOPIC_PARTITIONS)])
    got: list[Message] = []
    until_s = time.monotonic() + WAIT_S
    while len({message.value for message in got}) < different and time.monotonic() < until_s:
        received = client.consume(500, 0.2)
        got += (message_of(message) for message in received if message.error() is None)
    client.close()
    return got


async def test_a_broker_that_lacks_replicas_for_a_moment_is_asked_again_and_keeps_the_order(
    cluster: MockCluster,
) -> None:
    cluster.answer(NOT_ENOUGH_REPLICAS, 6)
    async with producing(cluster.bootstrap) as producer:
        assert await producer.send(TOPIC, records(0, 500), 10) == Sent(500, "")
    got = arrived(cluster, TOPIC, 500)
    assert numbers(got) == list(range(500))
    assert_each_key_in_order(got)


async def test_a_broker_that_lacks_replicas_for_long_ends_the_send_at_its_deadline(cluster: MockCluster) -> None:
    cluster.answer(NOT_ENOUGH_REPLICAS, REFUSALS_MAX)
    async with producing(cluster.bootstrap) as producer:
        begun = time.monotonic()
        sent = await producer.send(TOPIC, records(0, 500), 1)
        assert time.monotonic() - begun < 2
        assert (sent.acknowledged, producer.usable) == (0, False)
        assert "not acknowledged in 1.0 s" in sent.failure


async def test_a_slow_broker_ends_the_send_at_its_deadline(cluster: MockCluster) -> None:
    async with producing(cluster.bootstrap) as producer:
        assert await producer.send(TOPIC, records(0, 10), 10) == Sent(10, "")
        cluster.slow_down(3_000)
        assert (await producer.send(TOPIC, records(10, 500), 0.5)).acknowledged == 0
        await asyncio.sleep(0.2)  # by now the client has stopped itself, to prevent a gap
        assert not await producer.check()
        assert (await producer.send(TOPIC, records(10, 500), 0.5)).acknowledged == 0


async def test_a_full_queue_is_waited_for_and_drops_nothing_out_of_the_middle(cluster: MockCluster) -> None:
    cluster.slow_down(100)
    async with producing(cluster.bootstrap) as producer:
        assert await producer.send(TOPIC, records(0, QUEUE_MESSAGES_MAX + 2_000), 20) == Sent(
            QUEUE_MESSAGES_MAX + 2_000, ""
        )


async def test_a_queue_that_stays_full_ends_the_send_at_its_deadline(cluster: MockCluster) -> None:
    cluster.answer(NOT_ENOUGH_REPLICAS, REFUSALS_MAX)
    async with producing(cluster.bootstrap) as producer:
        sent = await producer.send(TOPIC, records(0, QUEUE_MESSAGES_MAX + 1), 1)
        assert (sent.acknowledged, producer.usable) == (0, False)
        assert "full" in sent.failure.lower()


async def topics_make_themselves(*_: object) -> None:
    """In place of `ensure_topics`, which these brokers don't know."""


@pytest.mark.parametrize("trouble", ["too few replicas", "slow", "down"])
async def test_positions_go_on_the_breaker_opens_and_afterwards_everything_arrives_in_order(
    trouble: str, cluster: MockCluster, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "ensure_topics", topics_make_themselves)
    lease = Lease(source.pool, source.stream, lease_s=60)
    assert await lease.hold()
    lease.lease_s = 2.0  # from here a send's deadline is a second
    sequencer = Sequencer(source.pool, lease)
    publisher = Publisher(source.pool, lease, cluster.bootstrap, events_per_s=800)  # chunks of 200, with one read ahead
    await source.write(100)
    assert await sequencer.step() == 100
    assert await publisher.step() == 100
    if trouble == "down":
        cluster.go_down()
    elif trouble == "slow":
        cluster.slow_down(5_000)
    else:
        cluster.answer(NOT_ENOUGH_REPLICAS, REFUSALS_MAX)
    await source.write(300)
    assert await sequencer.step() == 300
    assert await publisher.step() == 0
    assert publisher.breaker.state == 2
    await source.write(300)
    assert await sequencer.step() == 300  # nobody waits for the broker
    assert await publisher.step() == 0
    stands = await source.stands()
    assert (stands["last_position"], stands["published"]) == (699, 99)
    cluster.come_up()
    cluster.slow_down(0)
    cluster.answer_well()

    async def drained() -> bool:
        await publisher.step()
        return bool((await source.stands())["published"] == 699)

    await until(drained)
    assert publisher.breaker.state == 0
    await publisher.close()
    got = arrived(cluster, topic_of(source.stream), 700)
    first_seen = list(dict.fromkeys((message.partition, int(message.headers["position"])) for message in got))
    for partition in range(4):
        positions = [position for where, position in first_seen if where == partition]
        assert positions == sorted(positions)
    assert {position for _, position in first_seen} == set(range(700))


async def test_a_backlog_drains_at_the_rate_of_the_stream(cluster: MockCluster, source: Source) -> None:
    lease = Lease(source.pool, source.stream, lease_s=60)
    assert await lease.hold()
    publisher = Publisher(source.pool, lease, cluster.bootstrap, events_per_s=400)
    publisher._producer = await made(cluster)
    await source.write(500)
    assert await Sequencer(source.pool, lease).step() == 500
    begun = time.monotonic()
    sizes: list[int] = []
    while sum(sizes) < 500:
        sizes.append(await publisher.step())
    assert max(sizes) == max(PUBLISH_CHUNK_MIN, 400 // publishing.PAUSES_PER_S)
    assert time.monotonic() - begun >= 1.0  # the last hundred wait for four hundred before them
    await publisher.close()


async def test_what_was_read_ahead_is_forgotten_with_the_lease(
    cluster: MockCluster, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "ensure_topics", topics_make_themselves)
    old, new = (Lease(source.pool, source.stream, lease_s=60) for _ in range(2))
    assert await old.hold()
    await source.write(300)
    assert await Sequencer(source.pool, old).step() == 300
    first, second = (Publisher(source.pool, lease, cluster.bootstrap, events_per_s=400) for lease in (old, new))
    assert await first.step() == 100
    await source.pool.execute("UPDATE stream SET lease_until = now() - interval '1 second'")
    assert await new.hold()
    assert await first.step() == 100  # it was read ahead, and is sent before its sender knows better
    assert old.term is None
    assert await first.step() == 0
    assert (await source.stands())["published"] == 99
    assert [await second.step() for _ in range(3)] == [100, 100, 0]
    got = arrived(cluster, topic_of(source.stream), 300)
    assert_each_thing_in_order(list(dict.fromkeys(message.value.decode() for message in got)))
    await first.close()
    await second.close()


async def made(cluster: MockCluster) -> Producer:
    """A producer that has met its broker."""
    producer = Producer(cluster.bootstrap)
    assert (await producer.send(TOPIC, records(0, 1), 10)).acknowledged == 1
    return producer
