"""The metrics database: one method per SQL statement. All raise `DatabaseUnavailable` when it does not answer.

Its pool opens when it is first used: the audit service starts and runs without it.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from amana.audit.metrics.trail import TrailRow, packed
from amana.infra.lazy_pool import LazyPool
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.audit.metrics")
CONNECTIONS = 4
STATEMENT_TIMEOUT_MS = 10_000


class Span(NamedTuple):
    """What a question is about: buckets of a size (`minute`, `hour`, `day`), from an instant to before another."""

    per: str
    start: datetime
    end: datetime


class MetricsStore:
    """The statements of schema `timescale`."""

    def __init__(self, dsn: str) -> None:
        self._pool = LazyPool(dsn, "timescale", connections=CONNECTIONS, statement_timeout_ms=STATEMENT_TIMEOUT_MS)

    async def next_position(self, stream: str) -> int:
        """The first position of a stream that the trail has not looked at."""
        async with self._pool.reading() as connection:
            return int(await connection.fetchval(SQL["next_position"], stream))

    async def add(self, stream: str, start: int, stop: int, rows: Sequence[TrailRow]) -> bool:
        """Stores the rows of positions from `start` to before `stop`, in one transaction.

        False, and nothing stored, when the trail is no longer at `start`: another process was first.
        """
        columns = await asyncio.to_thread(packed, rows) if rows else []
        statement = SQL["add_rows"]

        async def work(connection: Connection) -> bool:
            nonlocal statement
            if await connection.fetchval(SQL["move_on"], stream, start, stop) is None:
                return False
            if rows:
                # Where the first attempt meets a row that is there already, the next one looks for such rows.
                adding, statement = statement, SQL["add_missing_rows"]
                await connection.execute(adding, stream, *columns)
            return True

        return await self._pool.in_transaction(work)

    async def upkeep(self) -> tuple[int, int]:
        """Makes partitions, drops those that are over; how many of each, none when there is nothing left to do."""
        async with self._pool.reading() as connection:
            row = await connection.fetchrow(SQL["upkeep"])
        assert row is not None, "the function gives one row"
        return row["made"], row["dropped"]

    async def decisions(self, tenant: int, span: Span, filters: Sequence[str | None], limit: int) -> list[Record]:
        """Counts of a tenant's decisions; filters: product, policy, outcome, kind."""
        async with self._pool.reading() as connection:
            return await connection.fetch(SQL["decisions"], tenant, *span, *filters, limit)

    async def transfers(self, tenant: int, span: Span, filters: Sequence[str | None], limit: int) -> list[Record]:
        """Counts and sums of a tenant's transfers; filters: product, kind, code, currency."""
        async with self._pool.reading() as connection:
            return await connection.fetch(SQL["transfers"], tenant, *span, *filters, limit)

    async def latencies(self, span: Span, filters: Sequence[str | None], limit: int) -> list[Record]:
        """Histograms of all services; filters: service, method, route, class of status."""
        async with self._pool.reading() as connection:
            return await connection.fetch(SQL["latencies"], *span, *filters, limit)

    async def close(self) -> None:
        """Closes the pool, if it was opened."""
        await self._pool.close()
