"""Sends sequenced events to the broker, in order of position, at least once.

One chunk at a time: read what comes after `published`, check the lease, send, wait for every delivery report, advance
`published` over the acknowledged prefix. While a full chunk is sent the one after it is read, and dropped unless the
first was acknowledged whole. So memory holds two chunks, bounded in events and in bytes.

A paused leader may duplicate, never reorder. Say that a log keeps order when no event stands in it before an earlier
event of its partition has stood there once; consumers drop what they have seen, so that is the order they see. Every
send keeps it, whoever sends and however late:

- A send begins right after `published`, and everything up to there was acknowledged, so stood in the log. (Where this
  leader has moved `published` to, under its term, is remembered, and a chunk that was read ahead begins there.)
- Within a send the producer keeps order without gaps (`amana.infra.kafka_producer`): what a failing or paused process
  puts into the log is a beginning of its chunk. Messages have no time-out in librdkafka, which would drop the first
  ones of a queue and still send the rest; our deadline drops all that is unsent, at once, and the producer with it.
- So when an old leader wakes with messages still in its queue, they are the continuation of what it has sent before,
  and what the new leader sent meanwhile is a continuation of `published`. Two orderly beginnings of the same stream,
  interleaved in any way, are orderly.

To keep such duplicates rare, a send needs a lease that lasts longer than the send's own deadline. `published` itself is
fenced by the term. The one exception is a broker that comes back empty: an old leader's late messages may then stand
after newer ones. Consumers fill such gaps by position anyway (`GET /v1/events`).

While the broker is down, full or too slow the breaker is open, sequencing goes on, and nothing is held in memory.
Afterwards the backlog drains at the stream's rate (`AMANA_RELAY_EVENTS_PER_S`), so that it starves neither the database
nor the consumers.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from amana.infra.breaker import Breaker
from amana.infra.kafka import Bootstrap, KafkaUnavailable, Producer, Record, ensure_topics
from amana.infra.lease import SQL, Lease
from amana.infra.outbox import SQL as OUTBOX_SQL
from amana.infra.postgres import DatabaseUnavailable, Pool, reading
from amana.infra.postgres import Record as Row

PUBLISH_CHUNK_MAX = 5_000
PUBLISH_CHUNK_MIN = 50
"""After a failure a chunk is a quarter of the last one, down to this, so that a slow broker gets something done within
a deadline; after a success twice the last one, up to the maximum."""
PUBLISH_CHUNK_BYTES_MAX = 16 * 1024 * 1024
"""Past its first event, what a chunk may weigh."""
EVENTS_PER_S_MAX = 25_000
"""How fast a stream is published where nothing else is said."""
PAUSES_PER_S = 4
"""A chunk is at most this part of a second's events, so that a pause for the rate's sake is short."""
SENDS_PER_LEASE = 2
"""A send's deadline is the lease divided by this. (A new idempotent producer needs half a second to begin.)"""

PUBLISHED = Counter("amana_relay_published_events_total", "Events that the broker acknowledged.", ["stream"])
FAILURES = Counter("amana_relay_broker_failures_total", "Times that the breaker to the broker opened.", ["stream"])

log = structlog.get_logger("amana.relay")


def topic_of(stream: str) -> str:
    """The topic of a stream."""
    return f"amana.{stream}.events"


class _Chunk(NamedTuple):
    """What is sent at once: the positions of events, and their messages in the same order."""

    positions: list[int]
    records: list[Record]


class _Ahead(NamedTuple):
    """The chunk after the one that is sent, and the term under which it is read."""

    term: int | None
    chunk: asyncio.Task[_Chunk]


class _Stands(NamedTuple):
    """Where this leader has moved `published` to, under its term: nobody else moves it while that lasts."""

    term: int | None
    published: int


class Publisher:
    """Publishes the stream of `lease`, while it leads, at most `events_per_s` of its events."""

    def __init__(self, pool: Pool, lease: Lease, bootstrap: Bootstrap, events_per_s: int = EVENTS_PER_S_MAX) -> None:
        self.breaker = Breaker()
        self._pool = pool
        self._lease = lease
        self._bootstrap = bootstrap
        self._topic = topic_of(lease.stream)
        self._producer: Producer | None = None
        self._events_per_s = events_per_s
        self._not_before = 0.0
        self._chunk_max = max(PUBLISH_CHUNK_MIN, min(PUBLISH_CHUNK_MAX, events_per_s // PAUSES_PER_S))
        self._chunk = self._chunk_max
        self._ahead: _Ahead | None = None
        self._stands: _Stands | None = None

    async def step(self) -> int:
        """One chunk; how many events were acknowledged (0 also when not leading or the breaker is open).

        Raises `DatabaseUnavailable`. Trouble with the broker goes to the breaker.
        """
        if self._lease.term is None or self.breaker.wait_s() > 0:
            await self._drop_ahead()
            return 0
        try:
            producer = await self._connected()
        except KafkaUnavailable as error:
            self._tripped(str(error))
            return 0
        chunk = await self._unpublished()
        if not chunk.positions:
            self.breaker.worked()
            return 0
        await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        deadline_s = self._lease.lease_s / SENDS_PER_LEASE
        if self._lease.remaining_s() < deadline_s:
            return 0
        return await self._send(producer, chunk, deadline_s)

    async def _send(self, producer: Producer, chunk: _Chunk, deadline_s: float) -> int:
        started = time.monotonic()
        if len(chunk.positions) == self._chunk:
            self._ahead = _Ahead(self._lease.term, asyncio.create_task(self._after(chunk.positions[-1])))
        sent = await producer.send(self._topic, chunk.records, deadline_s)
        PUBLISHED.labels(self._lease.stream).inc(sent.acknowledged)
        self._not_before = started + sent.acknowledged / self._events_per_s
        if sent.failure:
            self._tripped(sent.failure)
            await self._drop_ahead()
        else:
            self.breaker.worked()
            self._chunk = min(self._chunk_max, self._chunk * 2)
        if sent.acknowledged:
            await self._advance(chunk.positions[sent.acknowledged - 1])
        return sent.acknowledged

    async def close(self) -> None:
        """Free the producer; what is unsent stays unpublished."""
        await self._drop_ahead()
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.close()

    async def _connected(self) -> Producer:
        """The producer; a new one, and topics where they are missing, after anything went wrong with the last."""
        if self._producer is not None and not await self._producer.check():
            await self.close()
        if self._producer is None:
            await ensure_topics(self._bootstrap, [self._topic])
            self._producer = Producer(self._bootstrap)
        return self._producer

    async def _unpublished(self) -> _Chunk:
        """The next chunk: the one that was read ahead or, without it, what comes after `published`."""
        if self._ahead is not None and self._ahead.term == self._lease.term:
            ahead, self._ahead = self._ahead, None
            return await ahead.chunk
        await self._drop_ahead()
        if self._stands is not None and self._stands.term == self._lease.term:
            return await self._after(self._stands.published)
        async with reading(self._pool) as connection:
            published = await connection.fetchval(SQL["published"], self._lease.stream)
        return await self._after(published)

    async def _after(self, position: int) -> _Chunk:
        async with reading(self._pool) as connection:
            rows = await connection.fetch(OUTBOX_SQL["events_after"], position, self._chunk, PUBLISH_CHUNK_BYTES_MAX)
        return _Chunk([row["position"] for row in rows], self._records(rows))

    async def _drop_ahead(self) -> None:
        """Forget what was read ahead: it no longer begins where `published` stands."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.chunk.cancel()
            await asyncio.wait([ahead.chunk])

    async def _advance(self, position: int) -> None:
        term, self._stands = self._lease.term, None
        try:
            async with reading(self._pool) as connection:
                advanced = await connection.fetchval(
                    SQL["advance_published"], self._lease.stream, self._lease.holder, term, position
                )
        except DatabaseUnavailable:
            await self._drop_ahead()
            raise
        if advanced is None:
            self._lease.lost()
            await self._drop_ahead()
        else:
            self._stands = _Stands(term, position)

    def _records(self, rows: Sequence[Row]) -> list[Record]:
        stream = ("stream", self._lease.stream.encode())
        return [
            Record(
                str(aggregate_id).encode(),
                body,
                [
                    stream,
                    ("position", b"%d" % position),
                    ("event_id", str(event_id).encode()),
                    ("type", type_.encode()),
                    ("tenant", b"%d" % tenant),
                ],
            )
            for position, tenant, event_id, aggregate_id, type_, body in rows
        ]

    def _tripped(self, failure: str) -> None:
        self.breaker.failed()
        FAILURES.labels(self._lease.stream).inc()
        self._chunk = max(PUBLISH_CHUNK_MIN, self._chunk // 4)
        log.warning("broker_unavailable", stream=self._lease.stream, detail=failure)
