"""A database in which an older version wrote personal data in clear: sealed part by part, and refused before that."""

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.schema.older import before

from amana.domain.commitments import Words
from amana.domain.record import CustomerRecord
from amana.eligibility import customer_store
from amana.eligibility.app import ClearText, build
from amana.eligibility.sealed import LIFTED, PLACED, open_record, open_text, open_words
from amana.infra.migrate import migrate
from amana.infra.settings import Settings
from amana.operate.privacy import encrypting
from amana.operate.privacy.encrypting import encrypt
from amana.vault.vault import Vault

TENANT = 5
WHY, WHO = "Ada Obi said so on the phone.", "Chika Eze"
BVN = "22212345678"
CLEAR = (BVN, "70123456790", "+2348031234567", "0000014579", "1990-05-17", WHY, WHO)


@pytest.fixture
async def old(empty: Settings, tmp_path: Path) -> AsyncIterator[Settings]:
    """Databases as they were before anything was sealed, with a database of keys and a key file of their own."""
    async with before(empty, tmp_path, "eligibility", "0005") as settings:
        yield settings


async def written(connection: "asyncpg.Connection[asyncpg.Record]") -> list[UUID]:
    """Six customers as the older version wrote them, two of whom are one person; a block and a review."""
    ids = sorted(uuid4() for _ in range(6))
    for at, id_ in enumerate(ids):
        await connection.execute(
            "INSERT INTO customers (tenant, customer, facts_version, kyc_tier, birth_date, bank_code, nuban, phone,"
            " bvn, nin, blocked, recorded_at) VALUES ($1, $2, 3, 2, $3, '011', '0000014579', '+2348031234567', $4,"
            " $5, false, now())",
            TENANT, id_, date(1990, 5, 17), BVN if at < 2 else f"2220000000{at}", f"7012345679{at}",
        )  # fmt: skip
    await connection.execute(
        "INSERT INTO customer_blocks (tenant, block_id, customer, code, reason, placed_by, placed_at, lift_id,"
        " lifted_by, lifted_at, lift_reason) VALUES ($1, $2, $2, 'fraud', $3, 'key', now(), $2, 'key', now(), $4)",
        TENANT, ids[0], WHY, WHO,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO decisions (tenant, decision_id, customer, product, amount, currency, to_borrow, outcome, asked_by,"
        " policy_version, policy_hash, inputs, assessment, decision, decided_at)"
        " VALUES ($1, $2, $2, 'nano', 1, 'NGN', true, 'decline', 'key', 1, repeat('0', 64), '', '', '', now())",
        TENANT, ids[0],
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO reviews (tenant, review_id, decision_id, version, kind, asked, standing, actor, words_digest,"
        " reviewed_at) VALUES ($1, $2, $2, 2, 'appeal', '', 'active', 'key', repeat('0', 64), now())",
        TENANT, ids[0],
    )  # fmt: skip
    await connection.execute("INSERT INTO review_words VALUES ($1, $2, $3, $4, $5)", TENANT, ids[0], WHO, WHY, b"salt")
    return ids


async def everything(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """All that the three tables hold, as text."""
    tables = ("customers", "customer_blocks", "review_words")
    rows = [row[0] for table in tables for row in await connection.fetch(f"SELECT to_jsonb(t)::text FROM {table} t")]
    return json.dumps(rows)


async def test_what_was_in_clear_is_sealed_and_the_same(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypting, "AT_ONCE", 2)
    connection = await asyncpg.connect(old.owner_database_url, server_settings={"search_path": "eligibility"})
    vault = Vault.of(old)
    try:
        ids = await written(connection)
        await migrate(old)
        told = await everything(connection)
        assert [text for text in CLEAR if text not in told] == []
        with pytest.raises(ExceptionGroup) as refused:
            async with build(old).lifespan():
                pytest.fail("the service started on rows in clear")
        assert refused.group_contains(ClearText, match="run `amana privacy encrypt` first")

        said: list[str] = []

        def killed(line: str) -> None:
            said.append(line)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await encrypt(old, killed)
        left = "SELECT count(*) FROM customers WHERE birth_date IS NOT NULL"
        assert await connection.fetchval(left) == 4
        assert await encrypt(old, said.append) == 6
        assert await encrypt(old, said.append) == 0
        assert await connection.fetchval(left) == 0
        told = await everything(connection)
        assert not [text for text in CLEAR if text in told]
        await _is_the_same(connection, vault, ids)
    finally:
        await vault.close()
        await connection.close()


async def _is_the_same(connection: "asyncpg.Connection[asyncpg.Record]", vault: Vault, ids: list[UUID]) -> None:
    where = TENANT, ids[0]
    key = (await vault.keys([where]))[where]
    assert key is not None
    kept = (await customer_store.find_customers(connection, [where]))[where]
    assert kept.linked == (ids[1],)
    assert open_record(key, where, kept.record, kept.sealed) == CustomerRecord(
        kyc_tier=2,
        birth_date=date(1990, 5, 17),
        bank_code="011",
        nuban="0000014579",
        phone="+2348031234567",
        bvn=BVN,
        nin="70123456790",
    )
    (block,) = await connection.fetch("SELECT * FROM customer_blocks")
    assert open_text(key, where, PLACED, ids[0], block["words_sealed"]) == WHY
    assert open_text(key, where, LIFTED, ids[0], block["lift_words_sealed"]) == WHO
    (words,) = await connection.fetch("SELECT * FROM review_words")
    assert open_words(key, where, ids[0], words["sealed"]) == Words(WHO, WHY, b"salt")


async def test_a_database_with_nothing_in_clear_needs_no_sealing(old: Settings) -> None:
    await migrate(old)
    said: list[str] = []
    assert await encrypt(old, said.append) == 0
    assert said == []
