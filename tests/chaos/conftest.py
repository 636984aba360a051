"""One site for all crash tests but those of `test_kills`, which break a whole stack each."""

from collections.abc import AsyncIterator

import pytest
from tests.chaos.site import Lender, Site


@pytest.fixture(scope="session")
async def site() -> AsyncIterator[Site]:
    """PostgreSQL of our own; ledgers are started by whoever needs them."""
    async with Site.open() as opened:
        yield opened


@pytest.fixture
async def owner(site: Site) -> Lender:
    """A lender of the test's own."""
    return await site.lender()
