"""The loops: what the broker brings, what only the source has, what nobody could read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from tests.consuming.things import CONSUMER, STREAM, World, message
from tests.relay.source import until

from amana.infra.consuming.runtime import Missing, Runtime, dead_letter_topic
from amana.infra.embedded.ports import find_free
from amana.infra.http import UpstreamUnavailable
from amana.infra.kafka import Consumer, Message, Producer, Record, ensure_topics
from amana.infra.postgres import Pool
from amana.infra.settings import Settings
from amana.infra.telemetry import render_metrics


class KeptStream:
    """A source that keeps every event. `away`: it does not answer; `asked` counts pages of more than one event."""

    stream = STREAM

    def __init__(self) -> None:
        self.events: list[Message] = []
        self.away = False
        self.asked = 0

    async def missing(self, after: int, limit: int) -> Missing:
        if self.away:
            raise UpstreamUnavailable("away", outcome_known=True)
        self.asked += limit > 1
        page = self.events[after + 1 : after + 1 + limit]
        return Missing(page, len(self.events) - 1, 1_000.0 if page else None)


class Site:
    """A running consumer with its source and its topic."""

    def __init__(self, runtime: Runtime, source: KeptStream, topic: str, producer: Producer, world: World) -> None:
        self.runtime, self.source, self.topic, self.producer, self.world = runtime, source, topic, producer, world

    async def happen(self, count: int, *, published: bool = True, value: bytes | None = None) -> None:
        """Events come to be at the source, and in the topic unless the broker lost them."""
        first = len(self.source.events)
        made = [message(at, UUID(int=at % 7), value=value) for at in range(first, first + count)]
        self.source.events += made
        if published:
            records = [Record(event.key, event.value, list(event.headers.items())) for event in made]
            assert (await self.producer.send(self.topic, records, 10.0)).acknowledged == count

    async def all_taken(self) -> None:
        async def taken() -> bool:
            return await self.world.below() == len(self.source.events)

        await until(taken)


@asynccontextmanager
async def running(world: World, bootstrap: str, source: KeptStream, topic: str) -> AsyncIterator[Site]:
    stop = asyncio.Event()
    runtime = Runtime(world.taker(), bootstrap, [topic], [source])
    task = asyncio.create_task(runtime.run(stop))
    producer = Producer(bootstrap)

    async def started() -> bool:
        return runtime.started

    try:
        await until(started)
        yield Site(runtime, source, topic, producer, world)
    finally:
        stop.set()
        await task
        await producer.close()


async def new_topic(settings: Settings) -> str:
    topic = f"test.{uuid4().hex}"
    await ensure_topics(settings.kafka_bootstrap, [topic])
    return topic


async def test_what_the_broker_brings_is_taken_and_what_it_lost_is_fetched(world: World, settings: Settings) -> None:
    async with running(world, settings.kafka_bootstrap, KeptStream(), await new_topic(settings)) as site:
        await site.happen(30)
        await site.all_taken()
        await site.happen(5, published=False)
        await site.happen(30)
        await site.all_taken()
    assert sorted(await world.effects()) == list(range(65))


async def test_a_new_consumer_begins_at_the_end_and_one_that_was_stopped_where_it_stopped(
    world: World, settings: Settings
) -> None:
    await world.pool.execute("DELETE FROM consumer_progress")
    source, topic = KeptStream(), await new_topic(settings)
    source.events = [message(at, UUID(int=at)) for at in range(12)]
    async with running(world, settings.kafka_bootstrap, source, topic) as site:
        assert await world.below() == 12
        await site.happen(3)
        await site.all_taken()
    source.events += [message(15, UUID(int=1))]
    async with running(world, settings.kafka_bootstrap, source, topic) as site:
        await site.all_taken()
    assert await world.effects() == [12, 13, 14, 15]


async def test_while_the_broker_is_away_nothing_is_fetched_and_nothing_is_lost(
    world: World, settings: Settings
) -> None:
    source = KeptStream()
    nobody = f"127.0.0.1:{find_free(1)[0]}"
    async with running(world, nobody, source, "topic"):
        source.events = [message(at, UUID(int=at)) for at in range(4)]
        await asyncio.sleep(2.5)
        assert (await world.effects(), source.asked) == ([], 0)
        assert f'amana_consumer_lag_events{{consumer="{CONSUMER}",stream="{STREAM}"}} 4.0' in render_metrics().decode()
    async with running(world, settings.kafka_bootstrap, source, await new_topic(settings)) as site:
        await site.all_taken()
    assert sorted(await world.effects()) == [0, 1, 2, 3]


async def test_a_source_that_is_away_holds_nothing_up(world: World, settings: Settings) -> None:
    async with running(world, settings.kafka_bootstrap, KeptStream(), await new_topic(settings)) as site:
        site.source.away = True
        await site.happen(20)
        await site.all_taken()
    assert sorted(await world.effects()) == list(range(20))


async def test_a_database_that_goes_away_for_a_moment_costs_nothing(world: World, settings: Settings) -> None:
    async with running(world, settings.kafka_bootstrap, KeptStream(), await new_topic(settings)) as site:
        for _ in range(5):
            await site.happen(40)
            await end_sessions(world.pool)
        await site.all_taken()
    assert sorted(await world.effects()) == list(range(200))


async def end_sessions(pool: Pool) -> None:
    """Every connection of the consumer's pool is cut by the server, this one too."""
    with suppress(Exception):
        await pool.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()"
        )


async def test_the_dead_letter_topic_has_what_came_and_why(world: World, settings: Settings) -> None:
    nonsense = f"nonsense {uuid4()}".encode()
    async with running(world, settings.kafka_bootstrap, KeptStream(), await new_topic(settings)) as site:
        await site.happen(1, value=nonsense)
        await site.all_taken()
        told = await found_in(settings, dead_letter_topic(CONSUMER), nonsense)
    assert told.headers["dead.reason"] == b"not_an_event"
    assert told.headers["dead.topic"] in {site.topic.encode(), b"amana.things.events"}  # which way was faster
    assert told.headers["dead.attempts"] == b"1"
    assert (told.headers["position"], told.key) == (b"0", str(UUID(int=0)).encode())
    assert await world.pool.fetchval("SELECT count(*) FROM consumer_letters WHERE told_at IS NULL") == 0


async def found_in(settings: Settings, topic: str, value: bytes) -> Message:
    consumer: Any = Consumer(settings.kafka_bootstrap, f"look.{uuid4().hex}", [topic])
    try:
        async with asyncio.timeout(20):
            async for batch in consumer.batches(asyncio.Event()):
                for received in batch:
                    if received.value == value:
                        return Message(*received)
    finally:
        await consumer.close()
    raise AssertionError("never told")
