"""Feeds the trail from the audit log: in order of position, from where it is, without a gap.

A step, for up to `PAGE_EVENTS`: one round trip to learn where the trail is, one for what the log has after that, one
more where the page tells of loans, and one transaction (two round trips) that stores the rows and moves the place on.
Events are decoded in a thread: a page of them would keep everybody else of the process waiting.
Only leaves in unbroken order are taken, so nothing that comes late is lost; the place moves with the rows or not at
all, so nothing counts twice, whoever else feeds. While the metrics database is away the log keeps what the trail lacks.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Gauge

from amana.audit.metrics.products import (
    Key,
    Told,
    find_loans,
    find_products,
    first_undecided,
    loan_of,
    read_unbroken,
    told,
)
from amana.audit.metrics.store import MetricsStore
from amana.audit.metrics.trail import Seen, TrailRow, trail_row
from amana.audit.store import Store
from amana.infra.postgres import Pool

PAGE_EVENTS = 2_000
EVERY_S = 2.0
"""The counts of a page are kept by statements that cost the same for one event and for thousands: few and full ones."""
WAIT_FOR_LOAN_S = 5.0
"""How long the end of the log waits for the event that tells which loan a leg is of; then it counts without product."""

EVENTS = Counter("amana_metrics_events_total", "Events of the log that the trail looked at.", ("stream",))
POSITION = Gauge(
    "amana_metrics_position", "The first position of the log that the trail has not looked at.", ("stream",)
)


class Feed:
    """Feeds the trail of one stream. `pool` is of the audit database, as `log` is."""

    def __init__(self, stream: str, log: Store, pool: Pool, metrics: MetricsStore) -> None:
        self.stream = stream
        self._log = log
        self._pool = pool
        self._metrics = metrics
        self._blocked_at = -1
        self._blocked_since = 0.0

    async def step(self) -> float:
        """One page; the seconds until the next. Raises `DatabaseUnavailable` when either database is away."""
        start = await self._metrics.next_position(self.stream)
        page = await self._page(start)
        if not page and (first := await self._after_dropped(start)):
            await self._metrics.add(self.stream, start, first, [])
            return 0.0
        loans = find_loans(page)
        stop = self._waited(start, first_undecided(page, loans), len(page))
        if not stop:
            return EVERY_S
        rows = await self._rows(page[:stop], loans)
        if await self._metrics.add(self.stream, start, start + stop, rows):
            EVENTS.labels(self.stream).inc(stop)
            POSITION.labels(self.stream).set(start + stop)
        return 0.0 if len(page) == PAGE_EVENTS else EVERY_S

    async def _page(self, start: int) -> list[Told]:
        """What the log has from `start` up to its first gap."""
        unbroken = await read_unbroken(self._pool, self.stream, start, PAGE_EVENTS)
        return await asyncio.to_thread(_read, unbroken)

    async def _after_dropped(self, start: int) -> int | None:
        """The first position that there is behind what retention dropped; None where `start` is not of that."""
        async with self._log.rows() as rows:
            if start >= await rows.dropped_below(self.stream):
                return None
            first = await rows.lowest_position(self.stream)
        return first if first is not None and first > start else None

    def _waited(self, start: int, undecided: int, whole: int) -> int:
        """How much of the page to take: up to a leg whose loan is not known, unless that was waited for long enough."""
        if undecided == whole:
            return whole
        if self._blocked_at != start + undecided:
            self._blocked_at, self._blocked_since = start + undecided, time.monotonic()
        return whole if time.monotonic() - self._blocked_since > WAIT_FOR_LOAN_S else undecided

    async def _rows(self, events: Sequence[Told], loans: Mapping[Key, Key]) -> list[TrailRow]:
        of = [loan_of(event, loans) for event in events]
        products = await find_products(self._pool, [loan for loan in of if loan is not None])
        named = [products.get(loan, "") if loan else "" for loan in of]
        return await asyncio.to_thread(_counted, events, named)


def _read(events: Sequence[Seen]) -> list[Told]:
    return [told(event) for event in events]


def _counted(events: Sequence[Told], products: Sequence[str]) -> list[TrailRow]:
    return [trail_row(event.seen, event.data, product) for event, product in zip(events, products, strict=True)]
