"""The producer and the consumer on a real broker, also when it hangs, dies or comes back empty."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import pytest
from tests.relay.source import WAIT_S, OwnBroker, kill_and_restart

from amana.infra.kafka import Bootstrap, Consumer, KafkaUnavailable, Message, Producer, Record, Sent, ensure_topics
from amana.infra.settings import Settings


def records(first: int, count: int, keys: int = 20) -> list[Record]:
    return [Record(b"%d" % (number % keys), b"%d" % number, []) for number in range(first, first + count)]


def numbers(messages: list[Message]) -> list[int]:
    return sorted(int(message.value) for message in messages)


@asynccontextmanager
async def producing(bootstrap: Bootstrap) -> AsyncIterator[Producer]:
    producer = Producer(bootstrap)
    try:
        yield producer
    finally:
        await producer.close()


async def receive(consumer: Consumer, count: int, *, commit: bool = True) -> list[Message]:
    """The next `count` messages."""
    got: list[Message] = []
    async with asyncio.timeout(WAIT_S), aclosing(consumer.batches(asyncio.Event(), 100, 100)) as batches:
        async for batch in batches:
            assert 1 <= len(batch) <= 100
            got += batch
            if commit:
                await consumer.commit(batch)
            if len(got) >= count:
                break
    return got


async def new_topic(bootstrap: Bootstrap) -> str:
    topic = f"test.{uuid4().hex}"
    await ensure_topics(bootstrap, [topic])
    return topic


def assert_each_key_in_order(messages: list[Message]) -> None:
    """Each key's numbers rise, leaving out what was seen before."""
    highest: dict[bytes, int] = {}
    for message in messages:
        number = int(message.value)
        previous = highest.get(message.key, -1)
        assert number <= previous or previous < 0 or number == previous + 20, (message.key, previous, number)
        highest[message.key] = max(previous, number)


async def test_messages_arrive_whole_and_in_the_order_of_their_key(settings: Settings) -> None:
    topic = await new_topic(settings.kafka_bootstrap)
    sent = [record._replace(headers=[("position", b"7"), ("type", b"t")]) for record in records(0, 500)]
    async with producing(settings.kafka_bootstrap) as producer:
        assert await producer.send(topic, sent, 10) == Sent(500, "")
    consumer = Consumer(settings.kafka_bootstrap, topic, [topic])
    got = await receive(consumer, 500)
    await consumer.close()
    assert numbers(got) == list(range(500))
    assert_each_key_in_order(got)
    assert {message.partition for message in got} == {0, 1, 2, 3}
    assert all(message.headers == {"position": b"7", "type": b"t"} for message in got)


async def test_creating_topics_that_exist_changes_nothing(settings: Settings) -> None:
    topic = await new_topic(settings.kafka_bootstrap)
    await ensure_topics(settings.kafka_bootstrap, [topic], partitions=9)


async def test_a_consumer_goes_on_where_its_group_committed(settings: Settings) -> None:
    topic = await new_topic(settings.kafka_bootstrap)
    async with producing(settings.kafka_bootstrap) as producer:
        await producer.send(topic, records(0, 100), 10)
        first = Consumer(settings.kafka_bootstrap, topic, [topic])
        assert numbers(await receive(first, 100)) == list(range(100))
        await first.close()
        await producer.send(topic, records(100, 50), 10)
    second = Consumer(settings.kafka_bootstrap, topic, [topic])
    assert numbers(await receive(second, 50, commit=False)) == list(range(100, 150))
    await second.close()
    third = Consumer(settings.kafka_bootstrap, topic, [topic])
    assert numbers(await receive(third, 50)) == list(range(100, 150))  # not committed, so it comes again
    await third.close()


async def test_a_consumer_waits_for_a_topic_that_is_not_there_yet(settings: Settings) -> None:
    topic = f"test.{uuid4().hex}"
    consumer = Consumer(settings.kafka_bootstrap, topic, [topic])
    receiving = asyncio.create_task(receive(consumer, 10))
    await asyncio.sleep(0.5)
    assert not receiving.done()
    await ensure_topics(settings.kafka_bootstrap, [topic])
    async with producing(settings.kafka_bootstrap) as producer:
        await producer.send(topic, records(0, 10), 10)
    assert numbers(await receiving) == list(range(10))
    await consumer.close()


async def test_without_a_broker_topics_are_unavailable_and_a_send_gives_up_at_its_deadline(
    own_broker: OwnBroker,
) -> None:
    await own_broker.stop()
    with pytest.raises(KafkaUnavailable):
        await ensure_topics(own_broker.bootstrap, ["any"])
    async with asyncio.timeout(5), producing(own_broker.bootstrap) as producer:
        sent = await producer.send("any", records(0, 10), 1)
        assert sent.acknowledged == 0
        assert sent.failure
        assert not producer.usable
        assert (await producer.send("any", records(0, 10), 1)).acknowledged == 0


async def test_what_a_hung_broker_takes_later_is_a_beginning_of_what_was_sent(own_broker: OwnBroker) -> None:
    topic = await new_topic(own_broker.bootstrap)
    pid = own_broker.process.pid
    assert pid is not None
    async with producing(own_broker.bootstrap) as producer:
        assert await producer.send(topic, records(0, 100), 10) == Sent(100, "")
        os.kill(pid, signal.SIGSTOP)
        try:
            sent = await producer.send(topic, records(100, 2_000), 1)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert sent.acknowledged == 0
        assert not producer.usable
    async with producing(own_broker.bootstrap) as producer:
        assert await producer.send(topic, records(100, 2_000), 10) == Sent(2_000, "")
    consumer = Consumer(own_broker.bootstrap, topic, [topic])
    got = await receive(consumer, 2_100)
    while len(set(numbers(got))) < 2_100:
        got += await receive(consumer, 1)
    await consumer.close()
    assert set(numbers(got)) == set(range(2_100))
    assert_each_key_in_order(got)


async def test_a_running_consumer_reads_a_broker_that_came_back_empty_from_the_beginning(own_broker: OwnBroker) -> None:
    topic = await new_topic(own_broker.bootstrap)
    consumer = Consumer(own_broker.bootstrap, topic, [topic])
    async with producing(own_broker.bootstrap) as producer:
        await producer.send(topic, records(0, 100), 10)
        assert numbers(await receive(consumer, 100)) == list(range(100))
        await kill_and_restart(own_broker)
        assert not await eventually_usable(producer)
    # More than before, so that the old offsets exist in the new log: going on from them would lose the first ones.
    await ensure_topics(own_broker.bootstrap, [topic])
    async with producing(own_broker.bootstrap) as producer:
        assert await producer.send(topic, records(100, 900), 10) == Sent(900, "")
    assert numbers(await receive(consumer, 900)) == list(range(100, 1_000))
    await consumer.close()


async def eventually_usable(producer: Producer) -> bool:
    """Whether it still says that it is usable after a second."""
    for _ in range(20):
        if not await producer.check():
            return False
        await asyncio.sleep(0.05)
    return True
