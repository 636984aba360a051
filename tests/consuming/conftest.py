"""A scratch consumer for each test, in the test database."""

from collections.abc import AsyncIterator

import pytest
from tests.consuming.things import World, open_world

from amana.infra.settings import Settings


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    """An empty consumer whose stream begins at 0."""
    async with open_world(settings.owner_database_url) as opened:
        yield opened
