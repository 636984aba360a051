"""The consumer of notifications on tables of its own, and the service's routes on the shared database."""

from collections.abc import AsyncIterator

import pytest
from tests.consuming.things import open_tables

from amana.infra.postgres import Pool
from amana.infra.settings import Settings


@pytest.fixture
async def tables(settings: Settings) -> AsyncIterator[Pool]:
    """A scratch schema with the tables of schema `notifications`."""
    async with open_tables(settings.owner_database_url) as pool:
        yield pool
