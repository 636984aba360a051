"""Batches of the ledger, stopped in their middle."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from amana.infra.settings import Settings


@asynccontextmanager
async def batches_held_open(settings: Settings) -> AsyncIterator[None]:
    """Every batch that moves something stops before its COMMIT, its locks taken and its time drawn."""
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE transactions.outbox IN SHARE MODE")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def row_locked(settings: Settings, tenant: int, account: UUID) -> AsyncIterator[None]:
    """Another process has its hands on an account."""
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        async with connection.transaction():
            statement = "SELECT FROM transactions.accounts WHERE tenant = $1 AND id = $2 FOR UPDATE"
            await connection.execute(statement, tenant, account)
            yield
    finally:
        await connection.close()
