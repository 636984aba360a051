"""Databases that only migrations have touched: other tests may have changed those of the shared stack."""

import os
from collections.abc import AsyncIterator

import msgspec
import pytest

from amana.infra.migrate import drop_database, ensure_database, migrate, with_database
from amana.infra.settings import Settings


@pytest.fixture(scope="session")
async def fresh(settings: Settings) -> AsyncIterator[Settings]:
    """Both databases, new, with the sum of all migrations; the service roles' URLs point at them."""
    main, audit = (f"amana_schema_{name}_{os.getpid()}" for name in ("main", "audit"))
    at = {
        field: with_database(getattr(settings, field), audit if "audit" in field else main)
        for field in (
            "owner_database_url",
            "owner_audit_database_url",
            "eligibility_database_url",
            "transactions_database_url",
            "relay_database_url",
            "audit_database_url",
        )
    }
    # Every service reads keys in the main database, audit too.
    at["gateway_database_url"] = with_database(settings.audit_database_url, main)
    moved = msgspec.structs.replace(settings, **at)
    for dsn in (moved.owner_database_url, moved.owner_audit_database_url):
        await ensure_database(dsn)
    try:
        await migrate(moved)
        yield moved
    finally:
        for dsn in (moved.owner_database_url, moved.owner_audit_database_url):
            await drop_database(dsn)
