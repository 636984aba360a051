"""A database with data in it takes the migrations that came later."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.style.source import SRC

from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.migrate import migrate
from amana.infra.settings import Settings


@pytest.fixture
async def empty(settings: Settings) -> AsyncIterator[Settings]:
    """Two databases with nothing in them."""
    main, audit = (f"amana_upgrade_{name}_{os.getpid()}" for name in ("main", "audit"))
    moved = msgspec.structs.replace(
        settings,
        owner_database_url=with_database(settings.owner_database_url, main),
        owner_audit_database_url=with_database(settings.owner_audit_database_url, audit),
    )
    for dsn in (moved.owner_database_url, moved.owner_audit_database_url):
        await ensure_database(dsn)
    yield moved
    for dsn in (moved.owner_database_url, moved.owner_audit_database_url):
        await drop_database(dsn)


async def test_decisions_made_before_reviews_came_still_know_who_asked(empty: Settings, tmp_path: Path) -> None:
    before = tmp_path / "migrations"
    shutil.copytree(SRC / "migrations", before)
    for later in (before / "eligibility").glob("*.sql"):
        if later.name >= "0004":
            later.unlink()
    await migrate(empty, before)
    decision = uuid4()
    connection = await asyncpg.connect(empty.owner_database_url, server_settings={"search_path": "eligibility"})
    await connection.execute(
        "INSERT INTO decisions (tenant, decision_id, customer, product, amount, currency, to_borrow, outcome,"
        " policy_version, policy_hash, inputs, assessment, decision, decided_at)"
        " VALUES (7, $1, $1, 'nano', 1, 'NGN', true, 'decline', 1, repeat('0', 64), '', '', '', now())",
        decision,
    )
    await connection.execute(
        "INSERT INTO outbox (tenant, event_id, aggregate_id, type, body) VALUES"
        " (7, gen_random_uuid(), $1, 'DecisionMade', '{\"actor\": \"the asker\"}'),"
        " (8, gen_random_uuid(), $1, 'DecisionMade', '{\"actor\": \"somebody else\"}')",
        decision,
    )
    applied = await migrate(empty)
    assert "eligibility/0004_reviews" in applied
    assert await connection.fetchval("SELECT asked_by FROM decisions WHERE decision_id = $1", decision) == "the asker"
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("UPDATE decisions SET asked_by = 'nobody'")
    await connection.close()
