"""Databases as an older version left them, with a database of keys and a key file of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copytree
from uuid import uuid4

import msgspec
from tests.style.source import SRC

from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.key_file import ensure_key_file
from amana.infra.migrate import migrate
from amana.infra.settings import Settings

KEYS = ("owner_keys_database_url", "keys_database_url", "transactions_keys_database_url")


@asynccontextmanager
async def before(empty: Settings, tmp_path: Path, schema: str, migration: str) -> AsyncIterator[Settings]:
    """The databases before a migration of one schema; those of other schemas are all there."""
    folder = copytree(SRC / "migrations", tmp_path / "migrations")
    for file in (folder / schema).glob("*.sql"):
        if file.name >= migration:
            file.unlink()
    name = f"amana_clear_keys_{uuid4().hex[:8]}"
    moved = {field: with_database(getattr(empty, field), name) for field in KEYS}
    key_file = str(ensure_key_file(tmp_path / "privacy" / "keys.json"))
    settings = msgspec.structs.replace(empty, **moved, privacy_key_file=key_file)
    await ensure_database(settings.owner_keys_database_url)
    try:
        await migrate(settings, folder)
        yield settings
    finally:
        await drop_database(settings.owner_keys_database_url)
