"""Databases that only migrations have touched: other tests may have changed those of the shared stack."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.migrate import migrate, migrate_metrics
from amana.infra.settings import Settings


@pytest.fixture(scope="session")
async def fresh(settings: Settings) -> AsyncIterator[Settings]:
    """The databases, new, with the sum of all migrations."""
    async with _new(settings, "schema") as made:
        await migrate(made)
        await migrate_metrics(made)
        yield made


@pytest.fixture
async def empty(settings: Settings) -> AsyncIterator[Settings]:
    """The databases, new and empty."""
    async with _new(settings, "upgrade") as made:
        yield made


@asynccontextmanager
async def _new(settings: Settings, name: str) -> AsyncIterator[Settings]:
    """Databases for as long as the block; the service roles' URLs point at them."""
    main, audit, metrics = (f"amana_{name}_{part}_{os.getpid()}" for part in ("main", "audit", "metrics"))
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
    at["owner_metrics_database_url"] = with_database(settings.owner_metrics_database_url, metrics)
    at["metrics_database_url"] = with_database(settings.metrics_database_url, metrics)
    moved = msgspec.structs.replace(settings, **at)
    owned = (moved.owner_database_url, moved.owner_audit_database_url, moved.owner_metrics_database_url)
    for dsn in owned:
        await ensure_database(dsn)
    try:
        yield moved
    finally:
        for dsn in owned:
            await drop_database(dsn)
