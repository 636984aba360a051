"""The light form: what is not rows of a database beside its progress, and heals by itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest
from tests.consuming.things import message
from tests.relay.source import until

from amana.infra.consuming.light import ATTEMPTS_MAX, Highest, run_light
from amana.infra.kafka import Consumer, Message, Producer, Record, ensure_topics
from amana.infra.settings import Settings

A = UUID(int=1)


class Away(Exception):
    """What the effect is in does not answer."""


class Effect:
    """Remembers what it was given; fails with what `fails` holds, one at a time."""

    def __init__(self) -> None:
        self.fails: list[Exception] = []
        self.had: list[int] = []

    async def handle(self, messages: Sequence[Message]) -> None:
        if self.fails:
            raise self.fails.pop()
        self.had += [received.offset for received in messages]


@pytest.fixture
async def topic(settings: Settings) -> AsyncIterator[str]:
    name = f"test.{uuid4().hex}"
    await ensure_topics(settings.kafka_bootstrap, [name], partitions=1)
    yield name


async def ran(settings: Settings, topic: str, effect: Effect, count: int) -> None:
    """Sends messages and consumes until the last was had."""
    producer = Producer(settings.kafka_bootstrap)
    await producer.send(topic, [Record(b"k", b"%d" % at, []) for at in range(count)], 10.0)
    await producer.close()
    stop = asyncio.Event()
    consumer = Consumer(settings.kafka_bootstrap, topic, [topic])
    task = asyncio.create_task(run_light("test", consumer, effect.handle, stop, waits_for=(Away,), batch_max=5))

    async def had() -> bool:
        return count - 1 in effect.had

    await until(had)
    stop.set()
    await task


async def test_what_is_away_is_waited_for(settings: Settings, topic: str) -> None:
    effect = Effect()
    effect.fails = [Away() for _ in range(ATTEMPTS_MAX + 1)]
    await ran(settings, topic, effect, 12)
    assert effect.had == list(range(12))


async def test_a_bug_costs_its_batch_and_stops_nothing(settings: Settings, topic: str) -> None:
    effect = Effect()
    effect.fails = [ValueError("a bug") for _ in range(ATTEMPTS_MAX)]
    await ran(settings, topic, effect, 12)
    assert effect.had[-1] == 11
    assert 0 not in effect.had


def test_what_was_sent_again_is_passed_over_and_what_failed_is_not() -> None:
    seen = Highest()
    batch = [message(4, A), message(8, A)]
    assert seen.new(batch) == batch
    assert seen.new(batch) == batch  # not noted: it failed
    seen.note(batch)
    assert seen.new([*batch, message(12, A)]) == [message(12, A)]
    assert seen.new([message(5, A)]) == [message(5, A)]  # another partition


@pytest.mark.parametrize("position", [b"", b"x", b"-4", b"1e3", b"9" * 30, b"\xff"])
def test_a_message_without_a_usable_place_is_always_new(position: bytes) -> None:
    seen = Highest()
    odd = message(0, A)._replace(headers={"stream": b"things", "position": position})
    seen.note([odd])
    assert seen.new([odd]) == [odd]
