"""Lenders on the running platform."""

from collections.abc import AsyncIterator

import pytest
from tests.e2e.lenders import Lender, new_lender
from tests.e2e.tills import Till

from amana.infra.http import HttpClient
from amana.operate.stack import Stack


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture(scope="package")
async def notifying(platform: Stack) -> AsyncIterator[Stack]:
    """The platform with the service that it does without otherwise."""
    platform.names = (*platform.names, "notifications")
    await platform.start_service("notifications")
    yield platform
    await platform.services.pop("notifications").stop()
    platform.names = platform.names[:-1]


@pytest.fixture
async def lender(platform: Stack, http: HttpClient) -> Lender:
    return await new_lender(platform, http)


@pytest.fixture
async def till(lender: Lender) -> Till:
    return Till(lender, await lender.account(), await lender.account(normal_side="credit"))


@pytest.fixture(scope="package")
async def clumsy(platform: Stack) -> AsyncIterator[Lender]:
    """A lender of whose requests nothing comes, so that one does for all of them."""
    async with HttpClient() as http:
        yield await new_lender(platform, http)


@pytest.fixture(scope="package")
async def clumsy_till(platform: Stack) -> AsyncIterator[Till]:
    """Two accounts of another such lender."""
    async with HttpClient() as http:
        lender = await new_lender(platform, http)
        yield Till(lender, await lender.account(), await lender.account(normal_side="credit"))
