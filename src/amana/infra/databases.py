"""Whole databases: made, removed, named by a DSN, and connected to by their owner."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from amana.infra.postgres import CLIENT_CHECK_MS, CONNECT_TIMEOUT_S, Connection, DatabaseUnavailable
from amana.infra.sql import load_queries

LOCK_TIMEOUT_MS = 60_000
"""How long to wait for another runner of migrations, or for a lock that one needs."""
MAINTENANCE_DATABASE = "postgres"

SQL = load_queries("amana.infra", "databases.sql")


async def ensure_database(dsn: str) -> bool:
    """Create the database that `dsn` names if it is absent; whether it was. Needs CREATEDB only then."""
    name = database_of(dsn)
    async with connected(with_database(dsn, MAINTENANCE_DATABASE)) as connection:
        statement = await connection.fetchval(SQL["database_statement"], name)
        if statement is None:
            return False
        try:
            await connection.execute(statement)
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            return False  # another process was first
        return True


async def drop_database(dsn: str) -> None:
    """Remove the database that `dsn` names, with everything in it. For the databases of tests."""
    async with connected(with_database(dsn, MAINTENANCE_DATABASE)) as connection:
        statement = await connection.fetchval(SQL["drop_statement"], database_of(dsn))
        try:
            await connection.execute(f"{statement} WITH (FORCE)")
        except asyncpg.InsufficientPrivilegeError:  # to end autovacuum, which a drop without force does by itself
            await connection.execute(statement)


def database_of(dsn: str) -> str:
    """The name of the database in a DSN."""
    return unquote(urlsplit(dsn).path.lstrip("/"))


def with_database(dsn: str, database: str) -> str:
    """The same DSN for another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def with_role(dsn: str, role: str, password: str, database: str | None = None) -> str:
    """The same server (and database) for another role; `password` must need no escaping in a URL."""
    parts = urlsplit(with_database(dsn, database) if database else dsn)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection of an owner, who waits for locks for up to `LOCK_TIMEOUT_MS`. Raises `DatabaseUnavailable`."""
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            server_settings={
                "application_name": "amana-migrate",
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                # What waits for a table holds up whoever comes after it, so it must not outlive whoever began it.
                "client_connection_check_interval": str(CLIENT_CHECK_MS),
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(f"PostgreSQL (database {database_of(dsn)}): {error}") from error
    try:
        yield connection
    finally:
        await connection.close()
