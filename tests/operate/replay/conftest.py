"""A whole stack that no other test touches: its tables are what its log says, until a test here changes them."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from rich.console import Console
from tests.e2e.lenders import new_lender
from tests.operate.replay.town import Town

from amana.gateway.provision import ALL_SCOPES
from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate.replay.options import Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.run import replay
from amana.operate.replay.telling import Telling
from amana.operate.stack import Stack

Database = asyncpg.Connection
Replaying = Callable[..., Awaitable[Replayed]]


@pytest.fixture(scope="package")
async def site() -> AsyncIterator[Stack]:
    """Everything, services included, on servers of its own."""
    given = Settings(ledger_shards=int(os.environ.get("AMANA_TEST_LEDGER_SHARDS", "1")))
    async with Stack.open(given=given) as stack:
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
async def replaying(site: Stack, town: Town) -> Replaying:
    """Replays the site's log with the options that are named."""

    async def run(**options: Any) -> Replayed:
        return await replay(site.settings, Options(**options), Telling(Console(), quiet=True))

    return run


@pytest.fixture
async def database(site: Stack) -> AsyncIterator[Database]:
    """The main database as the owner of its tables, who may do anything to them."""
    connection = await asyncpg.connect(site.settings.owner_database_url)
    yield connection
    await connection.close()
