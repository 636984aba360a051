"""The schemas as they are, written down: a migration shows in review as the difference that it makes.

The dumps come from catalog queries, so nothing but the schema itself changes them.
"""

from pathlib import Path

import asyncpg
import pytest
from tests.golden import check_golden

from amana.infra.migrate import AUDIT_SCHEMAS, KEYS_SCHEMAS, MAIN_SCHEMAS, METRICS_SCHEMAS
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

PARTS = ("relations", "columns", "constraints", "indexes", "triggers", "functions", "grants")
KEYS_OF_THE_STREAM = {
    *("outbox_pkey", "outbox_prunes_pkey", "positions_pkey", "positions_seq_key", "stream_pkey"),
    *("consumer_progress_pkey", "consumer_taken_pkey", "consumer_letters_pkey", "ledger_watermark_pkey"),
    *("consumer_letters_place", "consumer_letters_foreign"),
}
"""Order is one thing for all tenants, and so is how far a consumer is in it."""


@pytest.mark.parametrize("schema", (*MAIN_SCHEMAS, *AUDIT_SCHEMAS, *KEYS_SCHEMAS))
async def test_the_snapshot_is_the_sum_of_the_migrations(fresh: Settings, schema: str) -> None:
    dsn = fresh.owner_audit_database_url if schema in AUDIT_SCHEMAS else fresh.owner_database_url
    await check_snapshot(fresh.owner_keys_database_url if schema in KEYS_SCHEMAS else dsn, schema)


@pytest.mark.parametrize("schema", METRICS_SCHEMAS)
async def test_the_snapshot_of_metrics_is_of_their_plain_form(fresh: Settings, schema: str) -> None:
    if await form_of(fresh.owner_metrics_database_url) != "plain":
        pytest.skip("TimescaleDB makes objects of its own, by its version")
    await check_snapshot(fresh.owner_metrics_database_url, schema)


async def form_of(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SELECT timescale.form()"))
    finally:
        await connection.close()


async def check_snapshot(dsn: str, schema: str) -> None:
    found = await described(dsn, schema)
    check_golden(Path(__file__).with_name(f"{schema}.snapshot.txt"), found)


async def described(dsn: str, schema: str) -> str:
    """All that a schema consists of, one thing a line, in a fixed order."""
    statements = load_queries("tests.schema", "catalog.sql")
    connection = await asyncpg.connect(dsn)
    try:
        parts = []
        for part in PARTS:
            rows = await connection.fetch(statements[part], schema)
            texts = [row[0].rstrip() for row in rows]
            parts.append("\n".join(texts if part == "columns" else sorted(texts)))
    finally:
        await connection.close()
    return "\n\n".join(part for part in parts if part) + "\n"


@pytest.mark.parametrize("schema", ["eligibility", "transactions"])
async def test_every_key_of_business_data_holds_the_tenant(fresh: Settings, schema: str) -> None:
    statements = load_queries("tests.schema", "catalog.sql")
    connection = await asyncpg.connect(fresh.owner_database_url)
    try:
        rows = await connection.fetch(statements["keys_without_tenant"], schema)
    finally:
        await connection.close()
    assert {row["relname"] for row in rows} <= KEYS_OF_THE_STREAM
