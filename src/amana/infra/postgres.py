"""PostgreSQL pools, and how its errors become ours.

Every connection carries the schema of its service, short time-outs that free locks when a process is paused, and UTC.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias, TypeVar

import asyncpg

from amana.infra import connection as one
from amana.infra import deadline
from amana.infra.connection import Attempt, acquired, ended_in_time
from amana.infra.deadline import DeadlineExceeded
from amana.infra.instants import remember_instants

Pool: TypeAlias = one.Pool
Connection: TypeAlias = one.Connection
Record: TypeAlias = one.Record
CONNECTION_TROUBLE = one.CONNECTION_TROUBLE
LockTimeout = one.LockTimeout
T = TypeVar("T")

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 3_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 2_000
CLIENT_CHECK_MS = 500
"""How often the server looks, while a statement runs or waits for a lock, whether its client is still there. Otherwise
it would find out when it answers, and keep what it has locked until then."""
BATCH_STATEMENT_TIMEOUT_MS = 3_000
"""Of pools for batches: longer than the server lets a whole batch take, so what is later comes from a silent server. A
COMMIT cut short by it is in doubt, and running the batch again tells."""
CONNECT_TIMEOUT_S = 10
ACQUIRE_TIMEOUT_S = 5.0
"""For one of a pool's connections, made anew where needed."""

BATCH_SETTINGS = {
    # What a stopped process may hold the locks of shared accounts for. The server stops this clock before it commits,
    # so that it never cuts a COMMIT short.
    "transaction_timeout": "2000",
    # A lock that passes from batch to batch comes sooner; one that does not is waited for apart (`infra.elsewhere`).
    "lock_timeout": "500",
    # Every statement of a batch finds rows by primary key, whatever the array's length. Plans made for one length
    # scan and hash the table for the next: two thirds more CPU for a batch of 50 (decision 0009).
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03", "23505"})
"""Serialisation failure, deadlock, lock time-out, unique violation: run the whole transaction again, a bounded number
of times."""


class DatabaseUnavailable(Exception):
    """The database does not answer, or answered that it can't. `outcome_known` is False when a COMMIT was under way."""

    def __init__(self, detail: str, *, outcome_known: bool = True) -> None:
        super().__init__(detail)
        self.outcome_known = outcome_known


async def open_pool(
    dsn: str,
    schema: str,
    connections: int = 8,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    *,
    batches: bool = False,
) -> Pool:
    """A pool whose connections see `schema` first. Raises `DatabaseUnavailable` when the server does not answer.

    `batches` is for pools that only write batches by key: see `BATCH_SETTINGS` and `BATCH_STATEMENT_TIMEOUT_MS`.
    """
    try:
        return await make_pool(dsn, schema, connections, statement_timeout_ms, batches=batches, at_start=1)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise DatabaseUnavailable(f"PostgreSQL ({schema}): {error}") from error


async def make_pool(
    dsn: str,
    schema: str,
    connections: int,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    *,
    batches: bool = False,
    at_start: int = 0,
    first: Callable[[Connection], Awaitable[None]] | None = None,
) -> Pool:
    """As `open_pool`, but only `at_start` connections are made now, by default none, so that the server may be away.
    `first` is run on each new connection before it is given out."""
    if batches:
        statement_timeout_ms = BATCH_STATEMENT_TIMEOUT_MS

    async def made(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await remember_instants(connection)
        if first is not None:
            await first(connection)

    return await asyncpg.create_pool(
        dsn,
        min_size=at_start,
        max_size=connections,
        timeout=CONNECT_TIMEOUT_S,
        init=made,
        reset=_reset,
        command_timeout=statement_timeout_ms / 1000,
        server_settings={
            "search_path": schema,
            "timezone": "UTC",
            "application_name": f"amana-{schema}",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "client_connection_check_interval": str(CLIENT_CHECK_MS),
            **(BATCH_SETTINGS if batches else {}),
        },
    )


async def _reset(connection: Connection) -> None:
    """Gives a connection back without a round trip: nothing here ever changes a session's state but a transaction."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


def reading(pool: Pool) -> AbstractAsyncContextManager[Connection]:
    """A connection for statements outside a transaction; connection trouble becomes `DatabaseUnavailable`.

    At the request's deadline it is closed, and `DeadlineExceeded` raised. A transaction on it, whose COMMIT may be
    under way, goes on; `deadline.point_of_no_return` belongs before one.
    """
    return _reading(pool, transactions_too=False)


@asynccontextmanager
async def _reading(pool: Pool, *, transactions_too: bool) -> AsyncIterator[Connection]:
    try:
        async with (
            acquired(pool, deadline.within(ACQUIRE_TIMEOUT_S)) as connection,
            ended_in_time(connection, transactions_too=transactions_too),
        ):
            yield connection
    except CONNECTION_TROUBLE as error:
        if deadline.is_over():
            raise DeadlineExceeded from error
        raise DatabaseUnavailable(str(error)) from error
    except asyncpg.PostgresError as error:
        raise _translated(error) from error


@asynccontextmanager
async def reading_at_once(pool: Pool) -> AsyncIterator[Connection]:
    """The same, for statements that must all see the database as it was at one instant."""
    async with (
        _reading(pool, transactions_too=True) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection


def _translated(error: asyncpg.PostgresError) -> Exception:
    """Out of resources, shutting down, cancelled, kept from a lock, or without the database or its roles (not migrated
    yet) is "unavailable"; anything else is a bug and stays what it is."""
    state = error.sqlstate or ""
    away = state[:2] in {"53", "57", "08", "25", "28", "3D"} or state in {"40P01", "55P03"}
    return DatabaseUnavailable(str(error)) if away else error


ATTEMPTS_MAX = 4
"""How often a transaction is run before its caller hears of it."""
ATTEMPTS_IN_DOUBT_MAX = 16
"""The same once a COMMIT is in doubt: a server that restarts should come back before "not known" is said."""
RUN_AGAIN_UNTIL_S = 5.0
"""After the first attempt began: none begins later, so that a caller is answered in time."""
BACKOFF_MS = 20
"""Before the second attempt; doubled for each further one, with jitter."""
BACKOFF_MAX_MS = 500


class RunAgain(Exception):
    """Raised by the work of a transaction that found its own premise gone: roll back and run it once more."""


async def in_transaction(pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs `work` in one transaction and commits; runs all of it again where that is right, `ATTEMPTS_MAX` times.

    `work` must be idempotent by the ids that it writes: after a lost connection nobody knows whether the COMMIT went
    through, and running the same work again finds out, because ids that were used give their first answer. What still
    fails is a `DatabaseUnavailable` (whose `outcome_known` is False where that matters) or, for anything else, itself:
    also a unique violation that does not go away, because it belongs to one item and not to the database.

    Until the COMMIT the request's deadline bounds all of it: then it is rolled back, and `DeadlineExceeded`.
    """
    commit_in_doubt = False
    until_s = time.monotonic() + RUN_AGAIN_UNTIL_S
    for number in range(1, ATTEMPTS_IN_DOUBT_MAX + 1):
        attempt = Attempt(pool)
        try:
            return await attempt.run(work, max(0.0, until_s - time.monotonic()))
        except (*CONNECTION_TROUBLE, asyncpg.PostgresError, RunAgain) as error:
            if not _may_run_again(error):
                if commit_in_doubt:
                    raise DatabaseUnavailable(str(error), outcome_known=False) from error
                raise
            failure: Exception = error
        commit_in_doubt = commit_in_doubt or attempt.committing
        if number >= (ATTEMPTS_IN_DOUBT_MAX if commit_in_doubt else ATTEMPTS_MAX):
            break
        await asyncio.sleep(_pause_s(number))
        if time.monotonic() > until_s or deadline.is_over():
            break
    if deadline.is_over():
        raise DeadlineExceeded from failure
    if isinstance(failure, asyncpg.UniqueViolationError):
        raise failure
    raise DatabaseUnavailable(str(failure), outcome_known=not commit_in_doubt) from failure


def _may_run_again(error: Exception) -> bool:
    """Not after what is a bug: it would fail the same way. (asyncpg counts a value that does not fit its column's type
    among the errors of its interface.)"""
    if isinstance(error, asyncpg.DataError):
        return False
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, CONNECTION_TROUBLE):
        return (error.sqlstate or "") in RETRYABLE_SQLSTATES or isinstance(_translated(error), DatabaseUnavailable)
    return True


def _pause_s(attempt: int) -> float:
    """How long to wait after an attempt (from 1) that failed."""
    pause_ms: float = min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (attempt - 1))
    return pause_ms / 1000 * (0.5 + random.random())  # noqa: S311  jitter, no secret
