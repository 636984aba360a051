"""Sends sequenced events to the broker, in order of position, at least once.

One chunk at a time: read what comes after `published`, check the lease, send, wait for every delivery report, advance
`published` over the acknowledged prefix. So memory holds one chunk, bounded in events and in bytes.

A paused leader may duplicate, never reorder. Say that a log keeps order when no event stands in it before an earlier
event of its partition has stood there once; consumers drop what they have seen, so that is the order they see. Every
send keeps it, whoever sends and however late:

- A send begins right after `published`, and everything up to there was acknowledged, so stood in the log.
- Within a send the producer keeps order without gaps (`amana.infra.kafka_producer`): what a failing or paused process
  puts into the log is a beginning of its chunk. Messages have no time-out in librdkafka, which would drop the first
  ones of a queue and still send the rest; our deadline drops all that is unsent, at once, and the producer with it.
- So when an old leader wakes with messages still in its queue, they are the continuation of what it has sent before,
  and what the new leader sent meanwhile is a continuation of `published`. Two orderly beginnings of the same stream,
  interleaved in any way, are orderly.

To keep such duplicates rare, a send needs a lease that lasts longer than the send's own deadline. `published` itself is
fenced by the term. The one exception is a broker that comes back empty: an old leader's late messages may then stand
after newer ones. Consumers fill such gaps by position anyway (`GET /v1/events`).

While the broker is down the breaker is open, sequencing goes on, and nothing is held in memory. Afterwards the backlog
drains at `PUBLISH_EVENTS_PER_S_MAX`.
"""

import time
from collections.abc import Sequence

import structlog

from amana.infra.breaker import Breaker
from amana.infra.kafka import KafkaUnavailable, Producer, Record, ensure_topics
from amana.infra.lease import SQL, Lease
from amana.infra.outbox import SQL as OUTBOX_SQL
from amana.infra.postgres import Pool, reading
from amana.infra.postgres import Record as Row

PUBLISH_CHUNK_MAX = 2_000
PUBLISH_CHUNK_MIN = 50
"""After a failure a chunk is a quarter of the last one, down to this, so that a slow broker gets something done within
a deadline; after a success twice the last one, up to the maximum."""
PUBLISH_CHUNK_BYTES_MAX = 16 * 1024 * 1024
"""Past its first event, what a chunk may weigh."""
PUBLISH_EVENTS_PER_S_MAX = 25_000
"""So that a backlog does not starve the database and the consumers."""
SENDS_PER_LEASE = 2
"""A send's deadline is the lease divided by this. (A new idempotent producer needs half a second to begin.)"""

log = structlog.get_logger("amana.relay")


def topic_of(stream: str) -> str:
    """The topic of a stream."""
    return f"amana.{stream}.events"


class Publisher:
    """Publishes the stream of `lease`, while it leads."""

    def __init__(self, pool: Pool, lease: Lease, bootstrap: str) -> None:
        self.breaker = Breaker()
        self._pool = pool
        self._lease = lease
        self._bootstrap = bootstrap
        self._topic = topic_of(lease.stream)
        self._producer: Producer | None = None
        self._not_before = 0.0
        self._chunk = PUBLISH_CHUNK_MAX

    async def step(self) -> int:
        """One chunk; how many events were acknowledged (0 also when not leading or the breaker is open).

        Raises `DatabaseUnavailable`. Trouble with the broker goes to the breaker.
        """
        if self._lease.term is None or self.breaker.wait_s() > 0 or time.monotonic() < self._not_before:
            return 0
        try:
            producer = await self._connected()
        except KafkaUnavailable as error:
            self._tripped(str(error))
            return 0
        rows = await self._unpublished()
        if not rows:
            self.breaker.worked()
        deadline_s = self._lease.lease_s / SENDS_PER_LEASE
        if not rows or self._lease.remaining_s() < deadline_s:
            return 0
        started = time.monotonic()
        sent = await producer.send(self._topic, self._records(rows), deadline_s)
        if sent.acknowledged:
            await self._advance(rows[sent.acknowledged - 1]["position"])
        if sent.failure:
            self._tripped(sent.failure)
        else:
            self.breaker.worked()
            self._chunk = min(PUBLISH_CHUNK_MAX, self._chunk * 2)
        self._not_before = started + sent.acknowledged / PUBLISH_EVENTS_PER_S_MAX
        return sent.acknowledged

    async def close(self) -> None:
        """Free the producer; what is unsent stays unpublished."""
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

    async def _unpublished(self) -> list[Row]:
        async with reading(self._pool) as connection:
            published = await connection.fetchval(SQL["published"], self._lease.stream)
            return await connection.fetch(OUTBOX_SQL["events_after"], published, self._chunk, PUBLISH_CHUNK_BYTES_MAX)

    async def _advance(self, position: int) -> None:
        async with reading(self._pool) as connection:
            advanced = await connection.fetchval(
                SQL["advance_published"], self._lease.stream, self._lease.holder, self._lease.term, position
            )
        if advanced is None:
            self._lease.lost()

    def _records(self, rows: Sequence[Row]) -> list[Record]:
        stream = self._lease.stream.encode()
        return [
            Record(
                key=str(row["aggregate_id"]).encode(),
                value=row["body"],
                headers=[
                    ("stream", stream),
                    ("position", b"%d" % row["position"]),
                    ("event_id", str(row["event_id"]).encode()),
                    ("type", row["type"].encode()),
                    ("tenant", b"%d" % row["tenant"]),
                ],
            )
            for row in rows
        ]

    def _tripped(self, failure: str) -> None:
        self.breaker.failed()
        self._chunk = max(PUBLISH_CHUNK_MIN, self._chunk // 4)
        log.warning("broker_unavailable", stream=self._lease.stream, detail=failure)
