"""Seals the references and metadata that older versions wrote in clear, while the ledger runs; then its table refuses
clear text.

It may be ended at any time and run again: what is sealed is passed over. No row in clear comes meanwhile, because the
table takes none since the migration.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from amana.infra.postgres import Connection, Record, open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries
from amana.transactions.note_store import clear_notes, holds_clear_text
from amana.transactions.notes import Owners, Seals
from amana.vault.vault import KeysUnavailable, Vault

SQL = load_queries("amana.operate.privacy", "encrypt_notes.sql")
AT_ONCE = 500
STATEMENT_TIMEOUT_MS = 600_000
"""Validating a constraint reads the whole table."""


async def encrypt_notes(settings: Settings, say: Callable[[str], None]) -> int:
    """Seals everything; how many rows that were. Nothing where that was done. Raises `DatabaseUnavailable`, also where
    no keys can be had."""
    pool = await open_pool(settings.owner_database_url, "transactions", 1, STATEMENT_TIMEOUT_MS)
    vault = Vault(settings.owner_keys_database_url, settings.privacy_key_file)
    try:
        async with reading(pool) as connection:
            if not await holds_clear_text(connection):
                return 0
            count, after = 0, (-1, 0, UUID(int=0))
            while rows := await connection.fetch(SQL["clear_notes"], *after, AT_ONCE, settings.ledger_shards):
                await _seal(connection, vault, rows)
                count += len(rows)
                say(f"notes: {count} rows sealed so far")
                after = rows[-1]["shard"], rows[-1]["tenant"], rows[-1]["transfer"]
            await connection.execute(SQL["validate_notes"])
            return count
    finally:
        await vault.close()
        await pool.close()


async def refuse_while_waiting(settings: Settings, current: int) -> None:
    """Raises `KeysUnavailable` while notes wait under an older version of the key file: they would be lost with it."""
    pool = await open_pool(settings.owner_database_url, "transactions", 1, STATEMENT_TIMEOUT_MS)
    try:
        async with reading(pool) as connection:
            versions = [row["kek"] for row in await connection.fetch(SQL["waiting_versions"], current)]
    finally:
        await pool.close()
    if versions:
        listed = ", ".join(str(version) for version in versions)
        raise KeysUnavailable(f"notes of transfers wait under version {listed}: let transactions run, then drop")


async def _seal(connection: Connection, vault: Vault, rows: Sequence[Record]) -> None:
    owners = {(row["tenant"], row["transfer"]): Owners(row["debit_owner"], row["credit_owner"]) for row in rows}
    wanted = {owner for (tenant, _), of in owners.items() for owner in of.of(tenant)}
    seals = Seals(vault.file(), await vault.ensure(wanted))
    columns: list[tuple[object, ...]] = []
    for row in rows:
        key = row["tenant"], row["transfer"]
        notes = clear_notes(row["reference"], row["metadata"], row["salt"])
        kept = seals.seal(key, owners[key], notes, moved=row["moved"])
        prints = kept.prints.reference, kept.prints.metadata
        columns.append((row["shard"], *key, *kept.owners, kept.sealed, *prints, kept.erased))
    await connection.execute(SQL["seal_notes"], *(list(column) for column in zip(*columns, strict=True)))
