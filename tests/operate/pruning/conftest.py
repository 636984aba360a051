"""A whole stack of its own: what is pruned there is missing to nobody else."""

import os
from collections.abc import AsyncIterator

import pytest

from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate.stack import ALL_SERVICES, Stack


@pytest.fixture(scope="package")
async def site() -> AsyncIterator[Stack]:
    """Everything, notifications too."""
    given = Settings(ledger_shards=int(os.environ.get("AMANA_TEST_LEDGER_SHARDS", "1")))
    async with Stack.open(given=given, services=ALL_SERVICES, durable=False) as stack:
        yield stack


@pytest.fixture(scope="package")
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client
