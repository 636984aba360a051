"""The relay: events committed in a schema get their positions (`sequencer`) and go to the broker (`publisher`).

Several may run; per stream one leads (`lease`) and the others wait. The process keeps nothing: killed at any point, it
or another goes on from the stream row. Sequencing does not wait for the broker, and the services wait for neither.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import structlog
from asyncpg.exceptions import LockNotAvailableError
from prometheus_client import Gauge

from amana.infra.breaker import Backoff, pause
from amana.infra.kafka import Bootstrap, Brokers
from amana.infra.lease import LEASE_S, RENEWALS_PER_LEASE, SQL, Lease
from amana.infra.pace import Pace
from amana.infra.postgres import DatabaseUnavailable, Pool, open_pool, reading
from amana.infra.publisher import EVENTS_PER_S_MAX, Publisher
from amana.infra.sequencer import SEQUENCE_CHUNK_MAX, Sequencer
from amana.infra.settings import Settings

SOURCES = ("eligibility", "transactions", "notifications")
"""Schemas with an outbox; the stream of each has the schema's name."""
CONNECTIONS = 5
"""Per source: lease, sequencer, publisher (its next chunk, and how far it got), gauges."""
POLL_BUSY_S = 0.02
SEQUENCE_REST_MAX_S, PUBLISH_REST_MAX_S = 0.15, 0.2
POLL_IDLE_S = 0.2
"""After a step that was not full a loop rests for the first at least, and for a time of its own at most where steps
take long, so that they are few and full under load; after a step that found nothing the wait doubles up to the last.
What is sent at once is one batch to the broker and to every consumer, so publishing may rest longest."""
LOOK_EVERY_S = 1.0
"""How often a publisher looks for events to publish that nobody told it of."""
GAUGES_EVERY_S = 2.0
FULL_STEP = 500
"""A step that did as much has probably left more."""
LAG_COUNT_MAX = 50_000
"""Counting unsequenced events stops here."""

UNSEQUENCED = Gauge("amana_relay_unsequenced_events", "Committed events without a position.", ["stream"])
UNPUBLISHED = Gauge("amana_relay_unpublished_events", "Events with a position, not acknowledged yet.", ["stream"])
OLDEST_AGE = Gauge("amana_relay_oldest_event_age_seconds", "Age of the oldest event not yet published.", ["stream"])
BREAKER_STATE = Gauge("amana_relay_breaker_state", "To the broker: 0 closed, 1 half open, 2 open.", ["stream"])
LEADS = Gauge("amana_relay_leads", "1 when this process leads the stream.", ["stream"])

DATABASE_TROUBLE = (DatabaseUnavailable, LockNotAvailableError)
"""What passes by itself."""

Done = TypeVar("Done")

log = structlog.get_logger("amana.relay")


class Relay:
    """Sequences and publishes one stream. `pool` sees its schema, with the grants that outbox.sql lists."""

    def __init__(
        self,
        stream: str,
        pool: Pool,
        bootstrap: Bootstrap,
        *,
        lease_s: float = LEASE_S,
        chunk: int = SEQUENCE_CHUNK_MAX,
        events_per_s: int = EVENTS_PER_S_MAX,
    ) -> None:
        self._pool = pool
        self._stream = stream
        self._lease = Lease(pool, stream, lease_s)
        self._sequencer = Sequencer(pool, self._lease, chunk)
        self._publisher = Publisher(pool, self._lease, bootstrap, events_per_s)
        self._publish_by_s = 0.0
        """Until then there is nothing to publish, unless events get positions."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, through restarts of PostgreSQL and the broker. Raises only on a bug."""
        renew_s = self._lease.lease_s / RENEWALS_PER_LEASE
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._every(renew_s, self._lease.hold, stop))
                tasks.create_task(self._while_busy(self._sequence, SEQUENCE_REST_MAX_S, stop))
                tasks.create_task(self._while_busy(self._publish, PUBLISH_REST_MAX_S, stop))
                tasks.create_task(self._every(GAUGES_EVERY_S, self._measure, stop))
        finally:
            await self._publisher.close()
            await self._release()

    async def _sequence(self) -> int:
        done = await self._sequencer.step()
        if done:
            self._publish_by_s = 0.0
        return done

    async def _publish(self) -> int:
        """A step of the publisher, unless it is known that there is nothing for it."""
        if time.monotonic() < self._publish_by_s:
            return 0
        self._publish_by_s = time.monotonic() + LOOK_EVERY_S
        done = await self._publisher.step()
        if done or self._publisher.breaker.state or self._lease.term is None:
            self._publish_by_s = 0.0
        return done

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            if await self._tried(work) is None:
                log.debug("tried_again_later", stream=self._stream)
            await pause(seconds, stop)

    async def _while_busy(self, step: Callable[[], Awaitable[int]], rest_max_s: float, stop: asyncio.Event) -> None:
        """Step after step while there is work; longer and longer waits while there is none or no database."""
        idle, broken, pace = Backoff(POLL_BUSY_S, POLL_IDLE_S), Backoff(), Pace(POLL_BUSY_S, rest_max_s)
        while not stop.is_set():
            pace.begin()
            done = await self._tried(step)
            if done:
                idle.reset()
                broken.reset()
                await asyncio.sleep(0 if done >= FULL_STEP else pace.rest_s())
            else:
                await pause((broken if done is None else idle).next_s(), stop)

    async def _tried(self, work: Callable[[], Awaitable[Done]]) -> Done | None:
        """What `work` gave, or None when the database could not do it now."""
        try:
            return await work()
        except DATABASE_TROUBLE as error:
            log.warning("database_unavailable", stream=self._stream, detail=str(error))
            return None

    async def _measure(self) -> bool:
        async with reading(self._pool) as connection:
            lag = await connection.fetchrow(SQL["lag"], self._stream, LAG_COUNT_MAX)
        assert lag is not None, f"no row in stream for {self._stream}"
        oldest = lag["first_unpublished"] or lag["first_unsequenced"]
        UNSEQUENCED.labels(self._stream).set(lag["unsequenced"])
        UNPUBLISHED.labels(self._stream).set(lag["unpublished"])
        OLDEST_AGE.labels(self._stream).set(_age_s(oldest) if oldest is not None else 0)
        BREAKER_STATE.labels(self._stream).set(self._publisher.breaker.state)
        LEADS.labels(self._stream).set(self._lease.term is not None)
        return True

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except DATABASE_TROUBLE as error:
            log.info("lease_left_to_expire", stream=self._stream, detail=str(error))


def _age_s(event_id: UUID) -> float:
    """Seconds since a UUIDv7 was made; 0 for any other id."""
    return max(0.0, time.time() - (event_id.int >> 80) / 1000) if event_id.version == 7 else 0.0


async def run_relays(settings: Settings, stop: asyncio.Event) -> None:
    """What `amana serve relay` does: a relay for each of `SOURCES`, until `stop` is set."""
    async with asyncio.TaskGroup() as tasks:
        for source in SOURCES:
            tasks.create_task(_run_source(source, settings, stop))


async def _run_source(source: str, settings: Settings, stop: asyncio.Event) -> None:
    pool = await _opened(source, settings, stop)
    if pool is None:
        return
    try:
        await Relay(source, pool, Brokers.of(settings), events_per_s=settings.relay_events_per_s).run(stop)
    finally:
        await pool.close()


async def _opened(source: str, settings: Settings, stop: asyncio.Event) -> "Pool | None":
    """A pool, as soon as the database answers; None when told to stop before that."""
    backoff = Backoff()
    while not stop.is_set():
        try:
            return await open_pool(settings.relay_database_url, source, CONNECTIONS)
        except DatabaseUnavailable as error:
            log.warning("database_unavailable", stream=source, detail=str(error))
            await pause(backoff.next_s(), stop)
    return None
