"""A whole stack that no other test touches: its tables are what its log says, until a test here changes them."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from rich.console import Console
from tests.e2e.lenders import new_lender
from tests.operate.replay.town import Town

from amana.audit.custody import Custody
from amana.audit.export import run_export
from amana.audit.leaf import STREAMS
from amana.gateway.provision import ALL_SCOPES
from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate.replay.options import Log, Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.run import replay
from amana.operate.replay.telling import Telling
from amana.operate.stack import Stack

Database = asyncpg.Connection
Replaying = Callable[..., Awaitable[Replayed]]
ReadingFrom = Callable[[str], Awaitable[dict[str, Any]]]
PLACES = (*map(str, Log), "export", "service")
"""Where a log can be read from."""
QUIET = Telling(Console(), quiet=True)
SEALED_S, POLL_S = 20.0, 0.05
SEALED = "SELECT coalesce(max(size), 0) FROM audit.checkpoints WHERE stream = $1"
UNSEQUENCED = """
SELECT (SELECT count(*) FROM transactions.outbox LEFT JOIN transactions.positions USING (seq) WHERE position IS NULL)
     + (SELECT count(*) FROM eligibility.outbox LEFT JOIN eligibility.positions USING (seq) WHERE position IS NULL)
"""


@pytest.fixture(scope="package")
async def site() -> AsyncIterator[Stack]:
    """Everything, services included, on servers of its own."""
    given = Settings(ledger_shards=int(os.environ.get("AMANA_TEST_LEDGER_SHARDS", "1")))
    async with Stack.open(given=given, durable=False) as stack:
        yield stack


@pytest.fixture(scope="package")
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture(scope="package")
async def town(site: Stack, http: HttpClient) -> Town:
    """A lender after a day with every kind of event in it."""
    lender = await new_lender(site, http, ALL_SCOPES)
    made = Town(lender, await lender.with_another_key())
    await made.day()
    return made


@pytest.fixture
def settings(site: Stack, town: Town) -> Settings:
    """The site's, with a key of a lender's that may read the audit log."""
    return msgspec.structs.replace(site.settings, api_key=town.lender.key)


@pytest.fixture
async def replaying(settings: Settings) -> Replaying:
    """Replays the site's log with the options that are named."""

    async def run(**options: Any) -> Replayed:
        return await replay(settings, Options(**options), QUIET)

    return run


@pytest.fixture
def trusted(site: Stack) -> tuple[str, ...]:
    """The verifier keys of the site's log, as somebody would have noted them."""
    custody = Custody.of(site.settings)
    return tuple(str(key) for stream in STREAMS for key in custody.keys(stream).keys)


@pytest.fixture
async def reading_from(
    site: Stack, town: Town, database: Database, trusted: tuple[str, ...], tmp_path: Path
) -> ReadingFrom:
    """The options that read from a place, once all that was given a position is sealed there."""

    async def options(place: str) -> dict[str, Any]:
        if place in set(Log):
            return {"log": Log(place)}
        await until_sealed(site, database)
        if place == "service":
            return {"from_audit": site.urls["audit"], "keys": trusted}
        await run_export(site.settings, tmp_path / "log")
        return {"from_export": tmp_path / "log", "keys": trusted}

    return options


async def until_sealed(site: Stack, database: Database) -> None:
    """Until a checkpoint covers every event."""
    log = await asyncpg.connect(site.settings.owner_audit_database_url)
    try:
        async with asyncio.timeout(SEALED_S):
            while await database.fetchval(UNSEQUENCED):  # noqa: ASYNC110  another process gives them
                await asyncio.sleep(POLL_S)
            for stream in STREAMS:
                last = await database.fetchval(f"SELECT last_position FROM {stream}.stream")
                while await log.fetchval(SEALED, stream) <= last:  # noqa: ASYNC110  another process seals
                    await asyncio.sleep(POLL_S)
    finally:
        await log.close()


@pytest.fixture
async def database(site: Stack) -> AsyncIterator[Database]:
    """The main database as the owner of its tables, who may do anything to them."""
    connection = await asyncpg.connect(site.settings.owner_database_url)
    yield connection
    await connection.close()
