"""A ledger in which an older version wrote references and metadata in clear: it goes on, and all of it is sealed."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.schema.older import before
from tests.transactions.conftest import Bank, Pools
from tests.transactions.test_notes import GONE, READABLE, SAID, SALT, WHERE, WHO, again, erase, seen, town

from amana.domain.transfer import Notes
from amana.infra.migrate import migrate
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings
from amana.operate.privacy import encrypting_notes
from amana.operate.privacy.encrypting import encrypt
from amana.vault.vault import KeysUnavailable, Vault

CONSTRAINT = "notes_hold_no_clear_text"
CLEAR = "CHECK (num_nonnulls(reference, metadata, salt) = 0) NOT VALID"


@pytest.fixture
async def old(empty: Settings, tmp_path: Path) -> AsyncIterator[Settings]:
    """Databases as they were before notes were sealed."""
    async with before(empty, tmp_path, "transactions", "0003") as settings:
        yield settings


@pytest.fixture
async def owner(old: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner of the main database, on which the new version was installed over a row in clear."""
    connection = await asyncpg.connect(old.owner_database_url, server_settings={"search_path": "transactions"})
    await connection.execute(
        "INSERT INTO notes (shard, tenant, transfer, reference, metadata, salt) VALUES (0, 7, $1, $2, NULL, $3)",
        *(uuid4(), WHO, SALT),
    )
    await migrate(old)
    yield connection
    await connection.close()


@pytest.fixture
async def bank(old: Settings, owner: object) -> AsyncIterator[Bank]:
    """The new version."""
    batches = await open_pool(old.transactions_database_url, "transactions", 2, batches=True)
    reads = await open_pool(old.transactions_database_url, "transactions", 2)
    vault = Vault.of_ledger(old)
    yield Bank(Pools(batches, reads, old.ledger_shards, vault), 7)
    await vault.close()
    await reads.close()
    await batches.close()


async def put_in_clear(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Makes every row what the older version would have written."""
    async with connection.transaction():
        await connection.execute(f"ALTER TABLE notes DROP CONSTRAINT {CONSTRAINT}")
        await connection.execute(
            "UPDATE notes SET reference = $1, metadata = jsonb_build_object('place', $2::text), salt = $3,"
            " sealed = NULL, kek = NULL, debit_owner = NULL, credit_owner = NULL, reference_print = NULL,"
            " metadata_print = NULL WHERE salt IS NULL",
            *(WHO, WHERE, SALT),
        )
        await connection.execute(f"ALTER TABLE notes ADD CONSTRAINT {CONSTRAINT} {CLEAR}")


async def told(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """All that the table holds."""
    return "".join(row[0] for row in await connection.fetch("SELECT to_jsonb(n)::text FROM notes n"))


async def test_what_was_in_clear_is_used_as_it_is_then_sealed_and_the_same(
    old: Settings, owner: "asyncpg.Connection[asyncpg.Record]", bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, obi, till = await town(bank)
    posted, gone = bank.post(till, ada, 5, notes=SAID), bank.post(till, obi, 5, notes=SAID)
    refused = bank.post(ada, ada, 5, notes=SAID)
    await bank.flow.submit([posted, gone, refused])
    await put_in_clear(owner)

    async def check() -> None:
        assert await seen(bank, posted.orders[0].id) == READABLE
        for order in (posted, refused):
            assert (await bank.send(order)).replayed
            other = again(bank, order, Notes("other", SAID.metadata, SALT))
            assert (await bank.send(other)).result == {"field": "reference"}
            assert (await bank.send(again(bank, order, None))).result == {"field": "metadata"}
        page = await bank.reads.list_transfers_by_reference(bank.tenant, WHO, UUID(int=0), 5)
        assert posted.orders[0].id in {one["id"] for one in page.transfers}

    await check()
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute("UPDATE notes SET reference = 'Ada' WHERE transfer = $1", posted.orders[0].id)
    registrar = Vault.of(old)
    await erase(bank, registrar, obi)
    await registrar.close()

    monkeypatch.setattr(encrypting_notes, "AT_ONCE", 1)
    said: list[str] = []

    def killed(line: str) -> None:
        said.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await encrypt(old, killed)
    await check()
    assert await encrypt(old, said.append) == 3
    assert await encrypt(old, said.append) == 0
    text = await told(owner)
    assert not [word for word in (WHO, WHERE, SALT.hex()) if word in text]
    await check()
    assert await seen(bank, gone.orders[0].id) == GONE
    assert (await bank.reads.list_noted_transfers(bank.tenant, ada, UUID(int=0), 5)).transfers


async def test_a_version_of_the_key_file_under_which_notes_wait_is_not_dropped(
    old: Settings, owner: "asyncpg.Connection[asyncpg.Record]", bank: Bank
) -> None:
    ada, _, till = await town(bank)
    away = Vault("postgresql://amana_transactions@127.0.0.1:1/keys", old.privacy_key_file)
    await bank.send(bank.post(till, ada, 5, notes=SAID), bank.another_flow(vault=away))
    await encrypting_notes.refuse_while_waiting(old, 1)
    with pytest.raises(KeysUnavailable, match="wait under version 1"):
        await encrypting_notes.refuse_while_waiting(old, 2)
