"""A service starts whether or not its database is there, and becomes ready by itself once it has come.

Until then the process lives, `/readyz` says `not_ready`, and whatever needs the database is "unavailable". From then on
readiness does not ask for the database any more: were it to go away, every replica would be taken out at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, make_pool, reading
from amana.infra.sql import load_queries
from amana.infra.tasks import end
from amana.infra.telemetry import logger

FIRST_LOOK_S = 2.0
"""How long a start waits for a database that does not answer."""
LOOK_EVERY_S = 0.5
LOOK_TIMEOUT_S = 5.0

Check = Callable[[Connection], Awaitable[None]]
"""What must be so before anything is read or written; raises a `DatabaseUnavailable` where it is not."""

SQL = load_queries("amana.infra", "lazy_pool.sql")

_log = logger(__name__)


async def require_schema(connection: Connection, schema: str) -> None:
    """Raises `DatabaseUnavailable` until the schema was made; what it holds comes with it."""
    if not await connection.fetchval(SQL["schema_is_there"], schema):
        raise DatabaseUnavailable(f"schema {schema} is not there yet: run `amana migrate`")


class Arrival:
    """Waits for the database of one service. `check` is asked beside whether the schema is there."""

    def __init__(self, dsn: str, schema: str, check: Check | None = None) -> None:
        self._dsn = dsn
        self._schema = schema
        self._check = check
        self._passed = False
        self._is_there = False
        self._told = ""

    def is_there(self) -> bool:
        """Whether the database has answered, and everything in it was as it must be."""
        return self._is_there

    async def pool(self, connections: int, *, batches: bool = False, closing: AsyncExitStack | None = None) -> Pool:
        """A pool that connects when it is used, and gives no connection out before the checks have passed on one. It is
        closed with `closing`, or by whoever asked for it."""
        pool = await make_pool(self._dsn, self._schema, connections, batches=batches, first=self._look_around)
        if closing is not None:
            closing.push_async_callback(pool.close)
        return pool

    @asynccontextmanager
    async def awaited(self, pool: Pool, fatal: type[DatabaseUnavailable] | None = None) -> AsyncIterator[None]:
        """Looks for the database now, and again and again beside the block until it is there.

        `fatal` is raised where it is found now: a start that a person must help. Later it is logged.
        """
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                await self._attempt(pool)
        except (DatabaseUnavailable, TimeoutError) as error:
            if fatal is not None and isinstance(error, fatal):
                raise
            self._tell(error)
        task = None if self._is_there else asyncio.create_task(self._until_there(pool))
        try:
            yield
        finally:
            if task is not None:
                await end([task])

    async def _until_there(self, pool: Pool) -> None:
        while not self._is_there:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    await self._attempt(pool)
            except Exception as error:
                self._tell(error)
        _log.info("database_is_there", schema=self._schema)

    def _tell(self, error: Exception) -> None:
        """Once for each cause, however long it lasts."""
        cause = str(error) or "no answer"
        if cause != self._told:
            self._told = cause
            _log.warning("database_awaited", schema=self._schema, detail=cause)

    async def _attempt(self, pool: Pool) -> None:
        async with reading(pool):  # for which the checks have passed
            self._is_there = True

    async def _look_around(self, connection: Connection) -> None:
        if self._passed:
            return
        await require_schema(connection, self._schema)
        if self._check is not None:
            await self._check(connection)
        self._passed = True
