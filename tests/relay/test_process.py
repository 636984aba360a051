"""What `amana serve relay` runs, as the relay's own role on the migrated schemas."""

import asyncio

import asyncpg
from tests.relay.source import WAIT_S, until

from amana.infra.relay import SOURCES, run_relays
from amana.infra.settings import Settings


async def leaders(settings: Settings) -> int:
    """How many of the sources have a leader."""
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        counts = [
            await connection.fetchval(f"SELECT count(*) FROM {schema}.stream WHERE lease_until > now()")
            for schema in SOURCES
        ]
    finally:
        await connection.close()
    return sum(counts)


async def test_it_leads_every_source_and_lets_go_when_told_to_stop(settings: Settings) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(run_relays(settings, stop))

    async def all_led() -> bool:
        return await leaders(settings) == len(SOURCES)

    await until(all_led)
    stop.set()
    async with asyncio.timeout(WAIT_S):
        await running
    assert await leaders(settings) == 0
