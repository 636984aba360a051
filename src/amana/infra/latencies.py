"""Tells the metrics database how long requests took: every few seconds, what was counted since.

No request waits for it. What can't be written waits in a bounded queue, a batch for each few seconds, so that it keeps
its time; the oldest is dropped and counted when the queue is full. Neither start nor end of a service depends on the
metrics database.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from prometheus_client import Counter, Gauge

from amana.infra import clock
from amana.infra.breaker import Backoff, Breaker, State, pause
from amana.infra.lazy_pool import LazyPool
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.sql import load_queries
from amana.infra.telemetry import FINE_BUCKETS_US, REQUEST_DURATION, Durations, logger

EVERY_S = 10.0
BATCHES_MAX = 60
"""Ten minutes of a database that is away."""
ROWS_MAX = 10_000
"""Of one batch; a process has a few routes, each with a few buckets in use."""
STATEMENT_TIMEOUT_MS = 2_000
LAST_TIMEOUT_S = 1.0
"""For what was counted last, when the service ends."""
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
NO_BOUND_US = 2**31 - 1
"""The bound of the bucket that has none."""

DROPPED = Counter(
    "amana_latencies_dropped_total", "Requests whose latency was not stored, because the metrics database was away."
)
WAITING = Gauge("amana_latencies_waiting_batches", "Batches of latencies that wait for the metrics database.")

SQL = load_queries("amana.infra", "latencies.sql")
_BOUNDS_US = (*FINE_BUCKETS_US, NO_BOUND_US)

log = logger("amana.infra.latencies")


class Row(NamedTuple):
    """What fell into one bucket: requests of a method, route and class of status (`2xx`), and their time in all."""

    method: str
    route: str
    status_class: str
    le_us: int
    requests: int
    total_us: int


class Batch(NamedTuple):
    """What was counted until an instant; never empty."""

    measured_at: datetime
    rows: list[Row]

    @property
    def requests(self) -> int:
        """How many requests it tells of."""
        return sum(row.requests for row in self.rows)


class LatencyWriter:
    """Takes what `durations` counted, and writes it as `service`. One for a process."""

    def __init__(self, dsn: str, service: str, durations: Durations = REQUEST_DURATION) -> None:
        self.instance: UUID = uuid4()
        self.waiting: deque[Batch] = deque()
        self._service = service
        self._durations = durations
        self._told: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        self._breaker = Breaker(Backoff(RETRY_FIRST_S, RETRY_MAX_S))
        self._pool = LazyPool(dsn, "timescale", connections=1, statement_timeout_ms=STATEMENT_TIMEOUT_MS)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then once more, for a second at most."""
        while not stop.is_set():
            await pause(EVERY_S, stop)
            self.take()
            if self._breaker.state is not State.OPEN or stop.is_set():
                await self._attempt(LAST_TIMEOUT_S if stop.is_set() else None)
        await self.close()

    async def close(self) -> None:
        """Gives the connection back."""
        await self._pool.close()

    def take(self) -> None:
        """Puts what was counted since the last time into the queue. The oldest batch makes room."""
        rows = self._counted()
        if not rows:
            return
        self.waiting.append(Batch(clock.now(), rows[:ROWS_MAX]))
        DROPPED.inc(sum(row.requests for row in rows[ROWS_MAX:]))
        if len(self.waiting) > BATCHES_MAX:
            DROPPED.inc(self.waiting.popleft().requests)
        WAITING.set(len(self.waiting))

    async def send(self) -> None:
        """Writes what waits, the oldest first, each batch once. Raises `DatabaseUnavailable`."""
        while self.waiting:
            batch = self.waiting[0]
            columns = [list(column) for column in zip(*batch.rows, strict=True)]
            async with self._pool.reading() as connection:
                await connection.execute(
                    SQL["add_latencies"], batch.measured_at, self.instance, self._service, *columns
                )
            self.waiting.popleft()
            WAITING.set(len(self.waiting))

    async def _attempt(self, timeout_s: float | None) -> None:
        """Sends; a failure is told once, and tried again after longer and longer pauses."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.send()
        except (DatabaseUnavailable, TimeoutError) as error:
            if self._breaker.state is State.CLOSED:
                log.warning("metrics_database_away", detail=str(error))
            self._breaker.failed()
        except Exception:
            # A row that the database refuses would be refused again, and hold up the others.
            log.exception("latencies_refused")
            DROPPED.inc(self.waiting.popleft().requests)
            self._breaker.failed()
        else:
            self._breaker.worked()

    def _counted(self) -> list[Row]:
        added: dict[tuple[str, str, str, int], list[float]] = defaultdict(lambda: [0, 0.0])
        for labels, series in self._durations.all_series():
            method, route, status = labels
            counts, totals_s = series.counts.copy(), series.totals_s.copy()
            counts_told, totals_told = self._told.get(labels, ([0] * len(counts), [0.0] * len(counts)))
            self._told[labels] = counts, totals_s
            for at, bound in enumerate(_BOUNDS_US):
                if requests := counts[at] - counts_told[at]:
                    bucket = added[method, route, f"{status[:1]}xx", bound]
                    bucket[0] += requests
                    bucket[1] += totals_s[at] - totals_told[at]
        return [Row(*key, int(requests), round(total_s * 1_000_000)) for key, (requests, total_s) in added.items()]


@asynccontextmanager
async def latencies_told(dsn: str, service: str) -> AsyncIterator[None]:
    """Writes latencies while the block runs, if there is a metrics database."""
    if not dsn:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(LatencyWriter(dsn, service).run(stop), name="latencies")
    try:
        yield
    finally:
        stop.set()
        await task
