"""PostgreSQL pools, and how its errors become ours.

Every connection carries the schema of its service, short time-outs that free locks when a process is paused, and UTC.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import asyncpg

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Record: TypeAlias = asyncpg.Record
T = TypeVar("T")

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 3_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 2_000
CONNECT_TIMEOUT_S = 10

RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03", "23505"})
"""Serialisation failure, deadlock, lock time-out, unique violation: run the whole transaction again, a bounded number
of times."""


CONNECTION_TROUBLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    # Raised for a session that the server ended while it was idle, when a query comes between the server's farewell
    # and the end of the connection.
    asyncpg.InternalClientError,
)
"""The connection broke, or there is none: it passes by itself."""


class DatabaseUnavailable(Exception):
    """The database does not answer, or answered that it can't. `outcome_known` is False when a COMMIT was under way."""

    def __init__(self, detail: str, *, outcome_known: bool = True) -> None:
        super().__init__(detail)
        self.outcome_known = outcome_known


async def open_pool(
    dsn: str, schema: str, connections: int = 8, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS
) -> Pool:
    """A pool whose connections see `schema` first. Raises `DatabaseUnavailable` when the server does not answer."""
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=connections,
            timeout=CONNECT_TIMEOUT_S,
            reset=_reset,
            command_timeout=statement_timeout_ms / 1000,
            server_settings={
                "search_path": schema,
                "timezone": "UTC",
                "application_name": f"amana-{schema}",
                "statement_timeout": str(statement_timeout_ms),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            },
        )
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise DatabaseUnavailable(f"PostgreSQL ({schema}): {error}") from error


async def _reset(connection: Connection) -> None:
    """Gives a connection back without a round trip: nothing here ever changes a session's state but a transaction."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


@asynccontextmanager
async def reading(pool: Pool) -> AsyncIterator[Connection]:
    """A connection for statements outside a transaction; connection trouble becomes `DatabaseUnavailable`."""
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
            yield connection
    except CONNECTION_TROUBLE as error:
        raise DatabaseUnavailable(str(error)) from error
    except asyncpg.PostgresError as error:
        raise _translated(error) from error


def _translated(error: asyncpg.PostgresError) -> Exception:
    """Out of resources, shutting down or cancelled is "unavailable"; anything else is a bug and stays what it is."""
    state = error.sqlstate or ""
    return DatabaseUnavailable(str(error)) if state[:2] in {"53", "57", "08", "25"} else error


ATTEMPTS_MAX = 4
"""How often a transaction is run before its caller hears of it."""
BACKOFF_MS = 20
"""Before the second attempt; doubled for each further one, with jitter."""


class RunAgain(Exception):
    """Raised by the work of a transaction that found its own premise gone: roll back and run it once more."""


async def in_transaction(pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs `work` in one transaction and commits; runs all of it again where that is right, `ATTEMPTS_MAX` times.

    `work` must be idempotent by the ids that it writes: after a lost connection nobody knows whether the COMMIT went
    through, and running the same work again finds out, because ids that were used give their first answer. What still
    fails is a `DatabaseUnavailable` (whose `outcome_known` is False where that matters) or, for anything else, itself:
    also a unique violation that does not go away, because it belongs to one item and not to the database.
    """
    commit_in_doubt = False
    for attempt in range(1, ATTEMPTS_MAX + 1):
        committing = False
        try:
            async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                transaction = connection.transaction(isolation="read_committed")
                await transaction.start()
                try:
                    result = await work(connection)
                    committing = True
                except BaseException:
                    await transaction.rollback()
                    raise
                await transaction.commit()
                return result
        except CONNECTION_TROUBLE as error:
            failure: Exception = error
        except asyncpg.PostgresError as error:
            again = (error.sqlstate or "") in RETRYABLE_SQLSTATES
            if not again and not isinstance(_translated(error), DatabaseUnavailable):
                raise
            failure = error
        except RunAgain as error:
            failure = error
        commit_in_doubt = commit_in_doubt or committing
        if attempt < ATTEMPTS_MAX:
            await asyncio.sleep(BACKOFF_MS / 1000 * 2 ** (attempt - 1) * (0.5 + random.random()))  # noqa: S311
    if isinstance(failure, asyncpg.UniqueViolationError):
        raise failure
    raise DatabaseUnavailable(str(failure), outcome_known=not commit_in_doubt) from failure
