"""The loops of a consumer: what the broker brings, what is missing, dead letters for the topic, the gauges.

    consume   batches from the broker → `taking`; offsets are committed after
    look      every second, for each stream: how far is the source? While the broker answers and the first missing
              position is still the one of the look before, it is fetched from the source: so a broker that lost its
              memory is made good. While the broker is away nothing is fetched: what is not urgent waits.
    tell      dead letters go to the topic `amana.<consumer>.dead`, as often as it takes

None of them ends on an error. What is away is waited for, with growing pauses.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from amana.infra.breaker import Backoff, pause
from amana.infra.consuming import meters
from amana.infra.consuming.letters import Letters
from amana.infra.consuming.planning import State
from amana.infra.consuming.store import KeptLetter
from amana.infra.consuming.taking import TAKE_MAX, Full, Taker
from amana.infra.http import UpstreamUnavailable
from amana.infra.kafka import Bootstrap, Consumer, KafkaUnavailable, Message, Producer, Record, ensure_topics
from amana.infra.postgres import Connection, DatabaseUnavailable, in_transaction, reading
from amana.infra.telemetry import logger

BATCH_WAIT_MS = 50
BEGIN_EVERY_S = 0.3
LOOK_EVERY_S = 1.0
FILL_PAGES_MAX = 20
"""Pages of `TAKE_MAX` events fetched in one look."""
TELL_EVERY_S = 1.0
TELL_MAX = 100
TELL_DEADLINE_S = 5.0
TOLD_BYTES_MAX = 900_000
"""A larger value is left out of the dead-letter topic; the table has it."""
HELD_PAUSE_S = 2.0
POSITION_MAX = 2**53 - 1
AWAY = (DatabaseUnavailable, UpstreamUnavailable, KafkaUnavailable)

log = logger("amana.consuming")


class Missing(NamedTuple):
    """A page of a stream: its messages after a position, the last position given to any, and when the first of the
    page happened (seconds since 1970; None where it is empty)."""

    messages: list[Message]
    last: int
    first_at: float | None


class Source(Protocol):
    """Where a stream comes from."""

    stream: str

    async def missing(self, after: int, limit: int) -> Missing:
        """At most `limit` events after a position. Raises `UpstreamUnavailable`."""
        ...


class Runtime:
    """Runs one consumer: `await run(stop)`. `started` once every stream has a beginning."""

    def __init__(self, taker: Taker, bootstrap: Bootstrap, topics: Sequence[str], sources: Sequence[Source]) -> None:
        self.name = taker.name
        self.taker = taker
        self.letters = Letters(taker)
        self.started = False
        self._bootstrap = bootstrap
        self._sources = sources
        self._consumer = Consumer(bootstrap, f"amana-{taker.name}", topics)
        self._producer: Producer | None = None
        self._seen: dict[str, int] = {}  # the first missing position of each stream at the last look; -1 for none

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set."""
        await self._begin(stop)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._consume(stop))
            loops.create_task(self._every(LOOK_EVERY_S, self._look, stop))
            loops.create_task(self._every(TELL_EVERY_S, self._tell, stop))
        if self._producer is not None:
            await self._producer.close()

    async def _begin(self, stop: asyncio.Event) -> None:
        """A stream that was never consumed begins at its end: nobody is told of what happened before."""
        while not self.started and not stop.is_set():
            try:
                await self._begin_streams()
            except AWAY as error:
                log.info("not_begun", consumer=self.name, detail=str(error))
                await pause(BEGIN_EVERY_S, stop)

    async def _begin_streams(self) -> None:
        async with reading(self.taker.pool) as connection:
            begun = {row.stream for row in await self.taker.store.progress(connection)}
        for source in self._sources:
            if source.stream not in begun:
                page = await source.missing(POSITION_MAX, 1)
                await self.taker.begin(source.stream, page.last + 1)
        self.started = True

    async def _consume(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    await self._consume_batches(stop)
                except Exception:
                    log.exception("consume_failed", consumer=self.name)
                    await pause(HELD_PAUSE_S, stop)
        finally:
            await self._consumer.close()

    async def _consume_batches(self, stop: asyncio.Event) -> None:
        async for batch in self._consumer.batches(stop, TAKE_MAX, BATCH_WAIT_MS):
            if await self._taken(batch, stop):
                await self._consumer.commit(batch)

    async def _taken(self, batch: Sequence[Message], stop: asyncio.Event) -> bool:
        """Takes a batch, however long that takes. False when told to stop before."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                await self.taker.take(batch)
            except Full as full:
                meters.HELD.labels(self.name).set(1)
                log.warning("held", consumer=self.name, detail=str(full))
                await pause(HELD_PAUSE_S, stop)
            except DatabaseUnavailable as error:
                log.warning("database_unavailable", consumer=self.name, detail=str(error))
                await pause(backoff.next_s(), stop)
            except Exception:
                # A bug of ours, not of a handler: the batch stays, and is tried again.
                log.exception("not_taken", consumer=self.name)
                await pause(backoff.next_s(), stop)
            else:
                meters.HELD.labels(self.name).set(0)
                return True
        return False

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        backoff = Backoff()
        while not stop.is_set():
            try:
                await work()
            except (*AWAY, Full) as error:
                log.warning("waits", consumer=self.name, detail=str(error))
                await pause(backoff.next_s(), stop)
            except Exception:
                log.exception("loop_failed", consumer=self.name)
                await pause(backoff.next_s(), stop)
            else:
                backoff.reset()
                await pause(seconds, stop)

    async def _look(self) -> None:
        async with reading(self.taker.pool) as connection:
            progress = {row.stream: row for row in await self.taker.store.progress(connection)}
            counts = await self.taker.store.count_letters(connection)
        for state in (State.DEAD, State.PARKED, State.WAITING):
            letters, keys = counts.get(state, (0, 0))
            meters.LETTERS.labels(self.name, state).set(letters)
            meters.PARKED_KEYS.labels(self.name, state).set(keys)
        for source in self._sources:
            await self._look_at(source, progress[source.stream].below, progress[source.stream].ahead)
        if counts.get(State.WAITING):
            await self.letters.release()

    async def _look_at(self, source: Source, below: int, ahead: int) -> None:
        page = await source.missing(below - 1, 1)
        lag = max(0, page.last + 1 - below - ahead)
        age = max(0.0, time.time() - page.first_at) if lag and page.first_at is not None else 0.0
        meters.POSITION.labels(self.name, source.stream).set(below - 1)
        meters.LAG_EVENTS.labels(self.name, source.stream).set(lag)
        meters.LAG_SECONDS.labels(self.name, source.stream).set(age)
        stuck = lag > 0 and self._seen.get(source.stream) == below
        self._seen[source.stream] = below if lag else -1
        if stuck and self._consumer.connected:
            await self._fill(source, below)

    async def _fill(self, source: Source, below: int) -> None:
        """Takes from the source what the broker has not brought; what it brought meanwhile falls out."""
        after = below - 1
        for _ in range(FILL_PAGES_MAX):
            page = await source.missing(after, TAKE_MAX)
            if not page.messages:
                return
            await self.taker.take(page.messages)
            after += len(page.messages)
        log.info("filled", consumer=self.name, stream=source.stream, first=below, last=after)

    async def _tell(self) -> None:
        async with reading(self.taker.pool) as connection:
            untold = await self.taker.store.untold(connection, TELL_MAX)
        if not untold:
            return
        topic = dead_letter_topic(self.name)
        if self._producer is None:
            await ensure_topics(self._bootstrap, [topic])
            self._producer = Producer(self._bootstrap)
        sent = await self._producer.send(topic, [_record(self.name, kept) for kept in untold], TELL_DEADLINE_S)
        told = [kept.letter for kept in untold[: sent.acknowledged]]

        async def note(connection: Connection) -> None:
            await self.taker.store.told(connection, told)

        if told:
            await in_transaction(self.taker.pool, note)
        if sent.failure or not self._producer.usable:
            producer, self._producer = self._producer, None
            await producer.close()
            raise KafkaUnavailable(sent.failure)


def dead_letter_topic(consumer: str) -> str:
    """Where the dead letters of a consumer are told."""
    return f"amana.{consumer}.dead"


def _record(consumer: str, kept: KeptLetter) -> Record:
    """A dead letter for the topic: the original bytes, key and headers, and what became of it in headers of our own."""
    message = kept.message
    whole = len(message.value) <= TOLD_BYTES_MAX
    told: dict[str, str | bytes | None] = {
        **message.headers,
        "dead.consumer": consumer,
        "dead.letter": str(kept.letter),
        "dead.reason": kept.reason,
        "dead.error": kept.error,
        "dead.attempts": str(kept.attempts),
        "dead.topic": message.topic,
        "dead.partition": str(message.partition),
        "dead.offset": str(message.offset),
        "dead.value": "whole" if whole else "left out: too large",
    }
    return Record(message.key, message.value if whole else b"", list(told.items()))
