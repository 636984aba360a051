"""Migrations on a database that holds something already."""

import json
from hashlib import sha256
from pathlib import Path
from shutil import copytree

import asyncpg
import pytest
from tests.style.source import SRC

from amana.eligibility import policy_store as store
from amana.infra.migrate import migrate
from amana.infra.settings import Settings

PUBLISHED = [(1, "nano", 1), (1, "nano", 2), (1, "airtime", 1), (2, "nano", 1)]


@pytest.fixture
def without_lifecycle(tmp_path: Path) -> Path:
    """The migrations before policies had a life."""
    folder = copytree(SRC / "migrations", tmp_path / "migrations")
    for file in (folder / "eligibility").glob("*.sql"):
        if file.name > "0001_z":
            file.unlink()
    return folder


async def test_policies_that_were_published_are_live_and_retired(empty: Settings, without_lifecycle: Path) -> None:
    await migrate(empty, without_lifecycle)
    connection = await asyncpg.connect(empty.owner_database_url, server_settings={"search_path": "eligibility"})
    try:
        for tenant, product, version in PUBLISHED:
            document = json.dumps([tenant, product, version]).encode()
            digest = sha256(document).hexdigest()
            await connection.execute(
                "INSERT INTO policies VALUES ($1, $2, $3, $4, $5, 'somebody', clock_timestamp())",
                *(tenant, product, version, digest, document),
            )
            await connection.execute(
                "INSERT INTO live_policies VALUES ($1, $2, $3)"
                " ON CONFLICT (tenant, product) DO UPDATE SET version = excluded.version",
                *(tenant, product, version),
            )
        await migrate(empty)
        keys = [(1, "nano"), (1, "airtime"), (2, "nano"), (2, "airtime")]
        assert await store.find_live_versions(connection, keys) == {(1, "nano"): 2, (1, "airtime"): 1, (2, "nano"): 1}
        found = await store.list_versions(connection, 1, "nano", 9, 9)
        assert [(one.life.version, one.state, one.life.approved_by) for one in found] == [
            (2, "live", "somebody"),
            (1, "retired", "somebody"),
        ]
        row = await store.lock_product(connection, 1, "nano")
        assert row is not None
        assert (row.versions, row.events, row.told) == (2, 2, 2)
        assert await store.list_due(connection, row) == []
    finally:
        await connection.close()
