"""What is written once stays as it is: tried as the service's role, and as the owner by mistake."""

import asyncpg
import pytest
from tests.transactions.conftest import Bank

from amana.infra.settings import Settings

WRITTEN_ONCE = ["transfers", "marks", "commands", "outbox"]
CHANGES = ["UPDATE {} SET {} = 0", "DELETE FROM {}", "TRUNCATE {}"]
NOT_A_TABLE = (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.WrongObjectTypeError)
"""`entries` is a view of two rows for each transfer: there is nothing that a change of it could mean."""


@pytest.fixture
async def written(bank: Bank) -> Bank:
    """A bank with a row in every one of these tables but `marks`."""
    till, income = await bank.account(), await bank.account()
    await bank.send(bank.post(till, income, 5))
    return bank


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", [*WRITTEN_ONCE, "entries", "positions"])
async def test_by_the_services_role(written: Bank, table: str, change: str) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, *NOT_A_TABLE)):
        await written.pools.reads.execute(change.format(table, "seq" if table == "positions" else "tenant"))
    assert len(await written.stored("SELECT id FROM transfers WHERE tenant = $1")) == 1
    assert len(await written.stored("SELECT version FROM entries WHERE tenant = $1")) == 2


@pytest.mark.parametrize("change", ["DELETE FROM transactions.{}", "TRUNCATE transactions.{}"])
@pytest.mark.parametrize("table", [*WRITTEN_ONCE, "entries", "positions"])
async def test_by_the_owner(settings: Settings, written: Bank, table: str, change: str) -> None:
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        with pytest.raises((asyncpg.RestrictViolationError, *NOT_A_TABLE)):
            await connection.execute(change.format(table))
        if table in WRITTEN_ONCE:
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(f"UPDATE transactions.{table} SET tenant = tenant + 1")
    finally:
        await connection.close()
    assert len(await written.stored("SELECT id FROM transfers WHERE tenant = $1")) == 1


async def test_accounts_holds_and_notes_are_not_deleted_by_the_services_role(written: Bank) -> None:
    for table in ("accounts", "holds", "loans", "repayments", "notes"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await written.pools.reads.execute(f"DELETE FROM {table}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await written.pools.reads.execute("UPDATE notes SET reference = NULL")
