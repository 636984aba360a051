"""The whole relay: racing, paused, killed, without a broker, without a database."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from uuid import UUID

from prometheus_client import REGISTRY
from tests.relay.source import (
    WAIT_S,
    OwnBroker,
    Source,
    assert_each_thing_in_order,
    change,
    kill_and_restart,
    until,
)

from amana.infra.kafka import Bootstrap, Consumer, Message, ensure_topics
from amana.infra.lease import Lease
from amana.infra.postgres import open_pool
from amana.infra.publisher import Publisher, topic_of
from amana.infra.relay import Relay
from amana.infra.sequencer import Sequencer
from amana.infra.settings import Settings

PROCESS = Path(__file__).with_name("relay_process.py")
LEASE_S = 2.0
COMMITTED_MIN = 100


@asynccontextmanager
async def relaying(source: Source, bootstrap: Bootstrap, relays: int = 1, chunk: int = 2_000) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(relays):
            relay = Relay(source.stream, source.pool, bootstrap, lease_s=LEASE_S, chunk=chunk)
            tasks.create_task(relay.run(stop))
        try:
            yield
        finally:
            stop.set()


async def published(source: Source, position: int) -> None:
    """Until everything up to `position` is published."""

    async def reached() -> bool:
        return bool((await source.stands())["published"] >= position)

    await until(reached)


async def received(bootstrap: Bootstrap, stream: str, last: int) -> list[Message]:
    """All messages of the stream's topic, duplicates included, until `last` and every position before it was there."""
    await ensure_topics(bootstrap, [topic_of(stream)])
    consumer = Consumer(bootstrap, f"test-{stream}", [topic_of(stream)])
    got: list[Message] = []
    async with asyncio.timeout(WAIT_S), aclosing(consumer.batches(asyncio.Event(), 500, 50)) as batches:
        async for batch in batches:
            got += batch
            if len({message.headers["position"] for message in got}) == last + 1:
                break
    await consumer.close()
    return got


def first_of_each(messages: list[Message]) -> list[Message]:
    """Without duplicates, in the order of arrival."""
    return list({message.headers["position"]: message for message in messages}.values())


async def write_at_random(source: Source, things: list[UUID], stop: asyncio.Event, seed: int) -> None:
    """Transactions of one to four changes; some get their xid early, some roll back, some dawdle."""
    chance = random.Random(seed)
    connection = await source.connect()
    while not stop.is_set():
        await connection.execute("BEGIN")
        if chance.random() < 0.3:
            await connection.fetchval("SELECT pg_current_xact_id()")
        for thing in sorted(chance.sample(things, chance.randint(1, 4))):
            await change(connection, thing)
            await asyncio.sleep(chance.random() * 0.01)
        if chance.random() < 0.05:
            await asyncio.sleep(0.3)
        await connection.execute("ROLLBACK" if chance.random() < 0.2 else "COMMIT")
    await connection.close()


@asynccontextmanager
async def writers(source: Source, count: int = 6) -> AsyncIterator[None]:
    things = await source.things(12)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for seed in range(count):
            tasks.create_task(write_at_random(source, things, stop, seed))
        try:
            yield
        finally:
            stop.set()


async def many(source: Source) -> bool:
    """Whether enough is committed to tell anything of."""
    return bool(await source.pool.fetchval("SELECT count(*) > $1 FROM outbox", COMMITTED_MIN))


async def assert_all_relayed(source: Source, bootstrap: Bootstrap) -> None:
    """Every committed event has one position, is published, and arrived in the order of its thing."""
    committed = await source.pool.fetchval("SELECT count(*) FROM outbox")
    await published(source, committed - 1)
    assert committed > COMMITTED_MIN
    bodies = await source.bodies()
    assert len(bodies) == committed
    assert_each_thing_in_order(bodies)
    got = await received(bootstrap, source.stream, committed - 1)
    assert_each_thing_in_order([message.value.decode() for message in first_of_each(got)])


async def test_an_event_arrives_with_its_key_headers_and_exact_bytes(source: Source, settings: Settings) -> None:
    async with relaying(source, settings.kafka_bootstrap):
        thing = await source.write(3)
        await published(source, 2)
    got = await received(settings.kafka_bootstrap, source.stream, 2)
    rows = await source.pool.fetch("SELECT event_id, body FROM outbox ORDER BY seq")
    for position, (message, row) in enumerate(zip(got, rows, strict=True)):
        assert (message.key, message.value) == (str(thing).encode(), row["body"])
        assert message.headers == {
            "stream": source.stream.encode(),
            "position": str(position).encode(),
            "event_id": str(row["event_id"]).encode(),
            "type": b"thing.changed",
            "tenant": b"1",
        }


async def test_racing_relays_lose_nothing_double_nothing_and_keep_each_things_order(
    source: Source, settings: Settings
) -> None:
    async with relaying(source, settings.kafka_bootstrap, relays=3, chunk=5):
        async with writers(source):
            await asyncio.sleep(2)
            await until(lambda: many(source))  # on a slow machine it takes longer
        await assert_all_relayed(source, settings.kafka_bootstrap)


async def test_a_relay_paused_and_woken_in_the_middle_is_fenced(source: Source, settings: Settings) -> None:
    arguments = [str(PROCESS), source.dsn, source.stream, settings.kafka_bootstrap, str(LEASE_S)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ) for _ in range(2)]
    chance = random.Random(7)
    terms = set()
    try:
        async with writers(source, 4):
            await published(source, 0)
            for round_ in range(3):
                await asyncio.sleep(chance.random())
                paused = processes[round_ % 2]
                paused.send_signal(signal.SIGSTOP)
                await asyncio.sleep(LEASE_S * 1.4 + chance.random())
                terms.add((await source.stands())["term"])
                paused.send_signal(signal.SIGCONT)
        await assert_all_relayed(source, settings.kafka_bootstrap)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        codes = [await process.wait() for process in processes]
    assert codes == [0, 0]
    assert len(terms) > 1


async def test_a_killed_relay_is_followed_by_another(source: Source, settings: Settings) -> None:
    arguments = [str(PROCESS), source.dsn, source.stream, settings.kafka_bootstrap, str(LEASE_S)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    async with writers(source, 4):
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ)
            await published(source, (await source.stands())["published"] + 20)
            process.kill()
            await process.wait()
    async with relaying(source, settings.kafka_bootstrap):
        await assert_all_relayed(source, settings.kafka_bootstrap)


async def test_an_old_leader_publishes_nothing_and_can_not_move_the_mark(source: Source, settings: Settings) -> None:
    await source.write(10)
    old, new = (Lease(source.pool, source.stream, 60) for _ in range(2))
    assert await old.hold()
    await Sequencer(source.pool, old).step()
    publisher = Publisher(source.pool, old, settings.kafka_bootstrap)
    await source.pool.execute("UPDATE stream SET lease_until = now() - interval '1 second'")
    assert await new.hold()
    await publisher.step()  # it does not know yet: this may send, but not say so
    assert (await source.stands())["published"] == -1
    assert old.term is None
    assert await publisher.step() == 0
    successor = Publisher(source.pool, new, settings.kafka_bootstrap)
    assert await successor.step() == 10
    got = await received(settings.kafka_bootstrap, source.stream, 9)
    assert_each_thing_in_order([message.value.decode() for message in first_of_each(got)])
    await publisher.close()
    await successor.close()


async def test_without_a_broker_sequencing_goes_on_and_afterwards_everything_new_arrives(
    source: Source, own_broker: OwnBroker
) -> None:
    bootstrap = own_broker.bootstrap
    async with relaying(source, bootstrap):
        await source.write(50)
        await published(source, 49)
        pid = own_broker.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await source.write(3_000)
        await until_gauge("amana_relay_breaker_state", source, lambda value: value > 0)
        await until_gauge("amana_relay_unpublished_events", source, lambda value: value == 3_000)
        assert gauge("amana_relay_oldest_event_age_seconds", source) > 0
        assert (await source.stands())["published"] == 49
        assert (await source.stands())["last_position"] == 3_049
        await own_broker.start()
        await published(source, 3_049)
        await until_gauge("amana_relay_breaker_state", source, lambda value: value == 0)
        await until_gauge("amana_relay_unpublished_events", source, lambda value: value == 0)
    assert gauge("amana_relay_published_events_total", source) >= 3_050
    assert gauge("amana_relay_broker_failures_total", source) >= 1
    # The embedded broker has forgotten the first fifty; Apache Kafka has not.
    consumer, seen = Consumer(bootstrap, f"test-{source.stream}", [topic_of(source.stream)]), set[int]()
    while not seen >= set(range(50, 3_050)):
        seen |= {int(message.headers["position"]) for message in await take(consumer, 1)}
    await consumer.close()


async def test_a_broker_that_came_back_empty_while_idle_gets_its_topic_and_new_events(
    source: Source, own_broker: OwnBroker
) -> None:
    consumer = Consumer(own_broker.bootstrap, "test", [topic_of(source.stream)])
    async with relaying(source, own_broker.bootstrap):
        await source.write(5)
        await take(consumer, 5)
        await kill_and_restart(own_broker)
        await source.write(7)
        got = await take(consumer, 7)
    assert {int(message.headers["position"]) for message in got} >= set(range(5, 12))
    await consumer.close()


async def test_a_relay_survives_the_end_of_its_database_sessions(source: Source, settings: Settings) -> None:
    application = f"amana-{source.stream}"
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()"
    own = [row["pid"] for row in await source.pool.fetch(sessions, application)]
    pool = await open_pool(source.dsn, source.stream, connections=4)
    stop = asyncio.Event()
    running = asyncio.create_task(Relay(source.stream, pool, settings.kafka_bootstrap, lease_s=LEASE_S).run(stop))
    for position in range(5):
        await source.write(1)
        await published(source, position)
        ended = f"SELECT pg_terminate_backend(pid) FROM ({sessions}) AS session WHERE pid <> ALL ($2::integer[])"
        assert await source.pool.fetch(ended, application, own)
    stop.set()
    await running
    assert len(await source.bodies()) == 5
    await pool.close()


def gauge(name: str, source: Source) -> float:
    return REGISTRY.get_sample_value(name, {"stream": source.stream}) or 0.0


async def until_gauge(name: str, source: Source, holds: Callable[[float], bool]) -> None:
    async def looked() -> bool:
        return holds(gauge(name, source))

    await until(looked)


async def take(consumer: Consumer, count: int) -> list[Message]:
    """The next `count` messages, committed."""
    got: list[Message] = []
    async with asyncio.timeout(WAIT_S), aclosing(consumer.batches(asyncio.Event(), 500, 50)) as batches:
        async for batch in batches:
            got += batch
            await consumer.commit(batch)
            if len(got) >= count:
                break
    return got
