"""One connection of a pool to PostgreSQL: taken, closed when it is in trouble or somebody's time is over, and what one
attempt at a transaction does with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import TypeAlias, TypeVar

import asyncpg

from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded
from amana.infra.sql import load_queries

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Record: TypeAlias = asyncpg.Record
T = TypeVar("T")

SQL = load_queries("amana.infra", "connection.sql")
SHORT_S = 1.6
"""Of what is left until a request's deadline: with more than that the lock time-out of every pool is short enough."""
LOCK_PART = 0.9
"""Of what is left: how long a lock is waited for, so that the server gives up before we do."""

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

_UNBOUNDED = nullcontext()

LockTimeout = asyncpg.LockNotAvailableError
"""A lock was waited for in vain. The transaction is lost."""


@asynccontextmanager
async def acquired(pool: Pool, timeout_s: float) -> AsyncIterator[Connection]:
    """A connection of the pool. One that is in trouble, or was left in the middle of a statement, is closed at once:
    to roll back on it or to give it back would wait for a silent server once more."""
    async with pool.acquire(timeout=timeout_s) as connection:
        try:
            yield connection
        except (*CONNECTION_TROUBLE, asyncio.CancelledError):
            with suppress(asyncpg.InterfaceError):  # the pool may have noticed first, and taken it back
                connection.terminate()
            raise


def ended_in_time(connection: Connection, *, transactions_too: bool) -> AbstractAsyncContextManager[None]:
    """At the deadline, if there is one, the block is cut short with `TimeoutError`, upon which `acquired` closes the
    connection; without `transactions_too` not where it is in a transaction then."""
    left_s = deadline.left_s()
    return _UNBOUNDED if left_s is None else _ended_after(connection, left_s, transactions_too=transactions_too)


@asynccontextmanager
async def _ended_after(connection: Connection, left_s: float, *, transactions_too: bool) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:

        def end() -> None:
            with suppress(asyncpg.InterfaceError):
                if transactions_too or not connection.is_in_transaction():
                    timeout.reschedule(loop.time())

        timer = loop.call_later(left_s, end)
        try:
            yield
        finally:
            timer.cancel()


class Attempt:
    """One run of a transaction. After a failure `committing` says whether its COMMIT was under way."""

    def __init__(self, pool: Pool) -> None:
        self.committing = False
        self._pool = pool
        self._is_short = False

    async def run(self, work: Callable[[Connection], Awaitable[T]], timeout_s: float) -> T:
        """BEGIN, `work`, COMMIT, on a connection that is waited for `timeout_s`."""
        async with acquired(self._pool, deadline.within(timeout_s)) as connection:
            transaction = connection.transaction(isolation="read_committed")
            async with ended_in_time(connection, transactions_too=True):
                await transaction.start()
                try:
                    await self._shorten(connection)
                    result = await work(connection)
                    deadline.point_of_no_return()
                except (*CONNECTION_TROUBLE, asyncio.CancelledError):
                    raise  # the connection is closed, and with it the transaction
                except BaseException as error:
                    await _rolled_back(connection, transaction)
                    if self._is_short and isinstance(error, LockTimeout):
                        raise DeadlineExceeded from error
                    raise
            self.committing = True
            await transaction.commit()
            return result

    async def _shorten(self, connection: Connection) -> None:
        """Bounds waiting for locks by what is left, where that is little.

        Statements are bounded by `ended_in_time`: a statement time-out set here would hold for the COMMIT too, and
        could end its wait for a standby.
        """
        left_s = deadline.left_s()
        if left_s is None or left_s > SHORT_S:
            return
        self._is_short = await shorten_lock_timeout(connection, int(left_s * 1000 * LOCK_PART))


async def shorten_lock_timeout(connection: Connection, timeout_ms: int) -> bool:
    """In this transaction locks are waited for no longer than that; whether they would have been."""
    return bool(await connection.fetchval(SQL["shorten_lock_timeout"], str(max(1, timeout_ms)), column=1))


async def _rolled_back(connection: Connection, transaction: asyncpg.transaction.Transaction) -> None:
    """Gives up a transaction; where that fails too its connection, and with it the transaction, is closed. What is
    told is why it was given up."""
    try:
        await transaction.rollback()
    except (*CONNECTION_TROUBLE, asyncpg.PostgresError):
        with suppress(asyncpg.InterfaceError):
            connection.terminate()
