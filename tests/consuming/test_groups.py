"""Sharing a topic among the members of a group, where the brokers coordinate groups; else everybody reads everything.

Runs against the broker of the test run: set AMANA_TEST_KAFKA_BOOTSTRAP for a real one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID, uuid4

import pytest
from tests.consuming.things import World, message
from tests.relay.source import until

from amana.infra.consuming.taking import Taker
from amana.infra.kafka import Consumer, Message, Producer, Record, ensure_topics
from amana.infra.kafka_groups import coordinates_groups
from amana.infra.settings import Settings

PARTITIONS = 4


@pytest.fixture
def bootstrap(settings: Settings) -> str:
    """The broker that these tests run against."""
    return settings.kafka_bootstrap


@pytest.fixture
async def topic(bootstrap: str) -> str:
    name = f"test.{uuid4().hex}"
    await ensure_topics(bootstrap, [name], PARTITIONS)
    return name


@pytest.fixture
async def producer(bootstrap: str) -> AsyncIterator[Producer]:
    made = Producer(bootstrap)
    yield made
    await made.close()


async def publish(producer: Producer, topic: str, first: int, count: int) -> None:
    """Events of twenty things, as the relay would send them."""
    events = [message(position, UUID(int=position % 20)) for position in range(first, first + count)]
    records = [Record(event.key, event.value, list(event.headers.items())) for event in events]
    assert (await producer.send(topic, records, 20.0)).acknowledged == count


class Member:
    """A process of the consumer: it takes small batches, and waits between taking and committing while told to."""

    def __init__(self, bootstrap: str, topic: str, taker: Taker) -> None:
        self.got: list[Message] = []
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.stop = asyncio.Event()
        self._consumer = Consumer(bootstrap, topic, [topic])
        self._taker = taker
        self.task = asyncio.create_task(self._run())

    @property
    def partitions(self) -> set[int]:
        """What it has read from."""
        return {received.partition for received in self.got}

    async def _run(self) -> None:
        async with aclosing(self._consumer.batches(self.stop, 20, 20)) as batches:
            async for batch in batches:
                await self._taker.take(batch)
                self.got += batch
                await self.may_commit.wait()
                await self._consumer.commit(batch)
        await self._consumer.close()

    async def end(self) -> None:
        """Leaves the group in an orderly way."""
        self.stop.set()
        self.may_commit.set()
        await self.task


async def all_taken(world: World, count: int) -> None:
    """Until everything was taken; each has its effect once, each key in its order."""

    async def taken() -> bool:
        return await world.below() == count

    await until(taken)
    effects = await world.effects()
    assert sorted(effects) == list(range(count))
    for key in range(20):
        of_key = [position for position in effects if position % 20 == key]
        assert of_key == sorted(of_key)


async def test_a_member_that_joins_and_one_that_leaves_in_the_middle_of_a_batch_double_and_lose_nothing(
    bootstrap: str, topic: str, producer: Producer, world: World
) -> None:
    await publish(producer, topic, 0, 400)
    first = Member(bootstrap, topic, world.taker())
    first.may_commit.clear()

    async def reads() -> bool:
        return bool(first.got)

    await until(reads)  # its first batch is taken and not committed: the rebalance comes in the middle of it
    second = Member(bootstrap, topic, world.taker())
    await publish(producer, topic, 400, 400)
    await asyncio.sleep(0.5)
    first.may_commit.set()
    await all_taken(world, 800)
    await publish(producer, topic, 800, 400)
    await first.end()
    await publish(producer, topic, 1_200, 200)
    await all_taken(world, 1_400)
    await second.end()
    assert second.got


async def test_members_of_a_group_share_its_partitions(
    bootstrap: str, topic: str, producer: Producer, world: World
) -> None:
    if not await asyncio.to_thread(coordinates_groups, bootstrap):
        pytest.skip("needs a broker that coordinates groups, such as Apache Kafka")
    members = [Member(bootstrap, topic, world.taker()) for _ in range(2)]
    count = 0
    for _ in range(100):
        await publish(producer, topic, count, 40)
        count += 40
        await all_taken(world, count)
        if all(member.got for member in members):
            break
    for member in members:
        member.got.clear()
    await publish(producer, topic, count, 200)
    await all_taken(world, count + 200)
    shares = [member.partitions for member in members]
    for member in members:
        await member.end()
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == set(range(PARTITIONS))


async def test_who_takes_over_begins_after_what_was_done(
    bootstrap: str, topic: str, producer: Producer, world: World
) -> None:
    await publish(producer, topic, 0, 200)
    first = Member(bootstrap, topic, world.taker())
    await all_taken(world, 200)
    await first.end()
    second = Member(bootstrap, topic, world.taker())
    await publish(producer, topic, 200, 100)
    await all_taken(world, 300)
    await second.end()
    assert min(int(received.headers["position"]) for received in second.got) >= 200
