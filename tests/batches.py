"""Batches of the ledger, stopped in their middle."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
