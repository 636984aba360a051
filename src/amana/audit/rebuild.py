"""Builds the search index anew: `amana audit reindex`. The log itself is not touched, and everything else goes on."""

from collections.abc import Callable

from amana.audit.index_store import Index
from amana.audit.indexer import Indexer
from amana.audit.leaf import LOGS
from amana.infra.postgres import open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

SQL = load_queries("amana.audit", "rebuild.sql")
SAY_EVERY_LEAVES = 100_000

Say = Callable[[str], None]


async def reindex(settings: Settings, say: Say) -> dict[str, int]:
    """Empties the index and fills it from the leaves; how many leaves of each stream are indexed then.

    A running service helps, and what arrives meanwhile is indexed too. Until a leaf is indexed no search finds it.
    With the rights of the owner. Raises `DatabaseUnavailable`.
    """
    owner = await open_pool(settings.owner_audit_database_url, "audit", 1)
    pool = await open_pool(settings.audit_database_url, "audit", 1, batches=True)
    try:
        async with reading(owner) as connection, connection.transaction():
            await connection.fetch(SQL["lock_all_indexing"])
            await connection.execute(SQL["empty_index"])
            await connection.execute(SQL["restart_indexing"])
        return {stream: await _caught_up(Indexer(stream, Index(pool)), say) for stream in LOGS}
    finally:
        await pool.close()
        await owner.close()


async def _caught_up(indexer: Indexer, say: Say) -> int:
    told = 0
    while await indexer.step():
        if indexer.size - told >= SAY_EVERY_LEAVES:
            told = indexer.size
            say(f"{indexer.stream}: {told:,} leaves")
    return indexer.size
