"""Seals what older versions wrote in clear, a part at a time, and then has the tables refuse clear text.

It may be ended at any time and run again: what is sealed is passed over. A row that somebody changes meanwhile is found
by the next pass. Eligibility does not start before this is done, because persons are found by what it makes.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias
from uuid import UUID

from amana.domain.commitments import Words
from amana.domain.record import CustomerRecord
from amana.eligibility.erasure_store import holds_clear_text
from amana.eligibility.records import Key, Sealed
from amana.eligibility.sealed import LIFTED, PLACED, numbers_of, seal_record, seal_text, seal_words
from amana.infra.postgres import Connection, Record, open_pool, reading
from amana.infra.sealing import SealingKey
from amana.infra.settings import Settings
from amana.infra.sql import load_queries
from amana.operate.privacy.encrypting_notes import encrypt_notes
from amana.vault.numbers import tokens
from amana.vault.vault import Vault

SQL = load_queries("amana.operate.privacy", "encrypt.sql")
AT_ONCE = 500
PASSES_MAX = 10
"""The last ones are for rows that were changed while a pass went over them."""
FIRST: Key = (-1, UUID(int=0))
STATEMENT_TIMEOUT_MS = 600_000
"""Validating a constraint reads the whole table."""

Keys: TypeAlias = dict[Key, SealingKey | None]


class StillClear(Exception):
    """Rows were changed in every pass: an older version still runs."""


async def encrypt(settings: Settings, say: Callable[[str], None]) -> int:
    """Seals everything; how many rows that were. Nothing where that was done. Raises `DatabaseUnavailable`, also where
    no keys can be had, and `StillClear`.
    """
    return await _encrypt_customers(settings, say) + await encrypt_notes(settings, say)


async def _encrypt_customers(settings: Settings, say: Callable[[str], None]) -> int:
    pool = await open_pool(settings.owner_database_url, "eligibility", 1, STATEMENT_TIMEOUT_MS)
    vault = Vault(settings.owner_keys_database_url, settings.privacy_key_file)
    try:
        async with reading(pool) as connection:
            if not await holds_clear_text(connection):
                return 0
            count = await _seal_all(connection, vault, say)
            for table in ("customers", "blocks", "words"):
                await connection.execute(SQL[f"validate_{table}"])
            return count
    finally:
        await vault.close()
        await pool.close()


async def _seal_all(connection: Connection, vault: Vault, say: Callable[[str], None]) -> int:
    count = 0
    for _ in range(PASSES_MAX):
        found = 0
        for what, id_, seal in (
            ("customers", "customer", _seal_customers),
            ("blocks", "block_id", _seal_blocks),
            ("words", "review_id", _seal_words),
        ):
            after = FIRST
            while rows := await connection.fetch(SQL[f"clear_{what}"], *after, AT_ONCE):
                keys = await vault.ensure({(row["tenant"], row["customer"]) for row in rows})
                await seal(connection, vault, keys, rows)
                found += len(rows)
                say(f"{what}: {count + found} rows sealed so far")
                after = rows[-1]["tenant"], rows[-1][id_]
        if not found:
            return count
        count += found
    raise StillClear("rows are still written in clear: stop the older version of eligibility first")


async def _seal_customers(connection: Connection, vault: Vault, keys: Keys, rows: Sequence[Record]) -> None:
    records = {(row["tenant"], row["customer"]): _record(row) for row in rows}
    living = {where: record for where, record in records.items() if keys[where] is not None}
    made = await tokens(vault, {number for where, record in living.items() for number in numbers_of(where, record)})
    columns: list[tuple[object, ...]] = []
    for row in rows:
        where = row["tenant"], row["customer"]
        key, record, sealed, own = keys[where], records[where], Sealed(), dict[str, UUID]()
        if key is not None:
            sealed = seal_record(key, where, record)
            own = {number.kind: made[number] for number in numbers_of(where, record)}
        bank_known = key is not None and record.bank_code is not None
        columns.append((*where, row["facts_version"], *sealed, bank_known, own.get("bvn"), own.get("nin")))
    await connection.execute(SQL["seal_customers"], *_turned(columns))


async def _seal_blocks(connection: Connection, _: Vault, keys: Keys, rows: Sequence[Record]) -> None:
    columns: list[tuple[object, ...]] = []
    for row in rows:
        where, lift = (row["tenant"], row["customer"]), row["lift_id"]
        key = keys[where]
        placed = lifted = None
        if key is not None and row["reason"] is not None:
            placed = seal_text(key, where, PLACED, row["block_id"], row["reason"])
        if key is not None and row["lift_reason"] is not None:
            lifted = seal_text(key, where, LIFTED, lift, row["lift_reason"])
        columns.append((row["tenant"], row["block_id"], lift, placed, lifted))
    await connection.execute(SQL["seal_blocks"], *_turned(columns))


async def _seal_words(connection: Connection, _: Vault, keys: Keys, rows: Sequence[Record]) -> None:
    columns: list[tuple[object, ...]] = []
    erased: list[tuple[object, ...]] = []
    for row in rows:
        where, review = (row["tenant"], row["customer"]), row["review_id"]
        key = keys[where]
        if key is None:
            erased.append((row["tenant"], review))
        else:
            words = Words(row["reviewer"], row["reason"], row["salt"])
            columns.append((row["tenant"], review, row["customer"], seal_words(key, where, review, words)))
    if columns:
        await connection.execute(SQL["seal_words"], *_turned(columns))
    if erased:
        await connection.execute(SQL["erase_words"], *_turned(erased))


def _record(row: Record) -> CustomerRecord:
    """What of a record identifies the customer; the rest stays where it is."""
    return CustomerRecord(
        kyc_tier=0,
        birth_date=row["birth_date"],
        bank_code=row["bank_code"],
        nuban=row["nuban"],
        phone=row["phone"],
        bvn=row["bvn"],
        nin=row["nin"],
    )


def _turned(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
