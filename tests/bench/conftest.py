"""A bench refuses a PostgreSQL that does not wait for its disk."""

from collections.abc import AsyncIterator

import pytest
from tests.databases import wait_for_disk

from amana.infra.settings import Settings
from amana.operate.stack import Stack


@pytest.fixture(scope="module")
async def settings(stack: Stack) -> AsyncIterator[Settings]:
    """Where the servers of `stack` are, for as long as they are measured."""
    await wait_for_disk(stack, wait=True)
    yield stack.settings
    await wait_for_disk(stack, wait=False)
