"""A pool for a server that a process can start without: opened when it is first used, and again until it opens."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from amana.infra.arrival import require_schema
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction, open_pool, reading

T = TypeVar("T")

AWAY_S = 0.5
"""How long a server that could not be reached counts as away."""


class LazyPool:
    """`reading()`, `in_transaction()`, `close()`. Everything raises `DatabaseUnavailable` when the server is away.

    Without a `dsn` it always is. Statements take `statement_timeout_ms` at most.
    """

    def __init__(self, dsn: str, schema: str, *, connections: int, statement_timeout_ms: int) -> None:
        self._dsn = dsn
        self._schema = schema
        self._connections = connections
        self._statement_timeout_ms = statement_timeout_ms
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._away_until_s = 0.0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection for statements outside a transaction."""
        async with reading(await self._open()) as connection:
            yield connection

    async def in_transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work` in one transaction, as `postgres.in_transaction` does."""
        return await in_transaction(await self._open(), work)

    async def close(self) -> None:
        """Closes the pool if it was ever opened; a server that does not answer is not waited for."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.terminate()

    async def _open(self) -> Pool:
        if not self._dsn:
            raise DatabaseUnavailable(f"no database is set for {self._schema}")
        async with self._opening:
            if self._pool is None:
                self._pool = await self._opened()
            return self._pool

    async def _opened(self) -> Pool:
        """Who waited while somebody else failed to open it does not try, and wait, once more."""
        if time.monotonic() < self._away_until_s:
            raise DatabaseUnavailable(f"PostgreSQL ({self._schema}) did not answer just now")
        try:
            return await self._migrated()
        except DatabaseUnavailable:
            self._away_until_s = time.monotonic() + AWAY_S
            raise

    async def _migrated(self) -> Pool:
        """A database that was away while everything else was migrated counts as away until it is migrated too."""
        pool = await open_pool(self._dsn, self._schema, self._connections, self._statement_timeout_ms)
        try:
            async with reading(pool) as connection:
                await require_schema(connection, self._schema)
        except DatabaseUnavailable:
            pool.terminate()
            raise
        return pool
