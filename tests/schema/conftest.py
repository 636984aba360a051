"""Databases that only migrations have touched: other tests may have changed those of the shared stack."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from amana.infra.migrate import drop_database, ensure_database, migrate, with_database
from amana.infra.settings import Settings


@pytest.fixture(scope="session")
async def fresh(settings: Settings) -> AsyncIterator[Settings]:
    """Both databases, new, with the sum of all migrations."""
    async with _new(settings, "schema") as made:
        await migrate(made)
        yield made


@pytest.fixture
async def empty(settings: Settings) -> AsyncIterator[Settings]:
    """Both databases, new and empty."""
    async with _new(settings, "upgrade") as made:
        yield made


@asynccontextmanager
async def _new(settings: Settings, name: str) -> AsyncIterator[Settings]:
    """Two databases for as long as the block; the service roles' URLs point at them."""
    main, audit = (f"amana_{name}_{part}_{os.getpid()}" for part in ("main", "audit"))
    at = {
        field: with_database(getattr(settings, field), audit if "audit" in field else main)
        for field in (
            "owner_database_url",
            "owner_audit_database_url",
            "eligibility_database_url",
            "transactions_database_url",
            "relay_database_url",
            "notifications_database_url",
            "audit_database_url",
        )
    }
    # Every service reads keys in the main database, audit too.
    at["gateway_database_url"] = with_database(settings.audit_database_url, main)
    moved = msgspec.structs.replace(settings, **at)
    for dsn in (moved.owner_database_url, moved.owner_audit_database_url):
        await ensure_database(dsn)
    try:
        yield moved
    finally:
        for dsn in (moved.owner_database_url, moved.owner_audit_database_url):
            await drop_database(dsn)
