"""Migrations: each file once, in order, all or nothing, and never a changed one."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.migrate import MigrationError, load_migrations, migrate
from amana.infra.roles import role_urls
from amana.infra.settings import Settings


@pytest.fixture
async def empty(settings: Settings) -> AsyncIterator[Settings]:
    """Two empty databases on the servers of the run."""
    name = f"amana_migrate_{os.getpid()}"
    fresh = msgspec.structs.replace(
        settings,
        owner_database_url=with_database(settings.owner_database_url, name),
        owner_audit_database_url=with_database(settings.owner_audit_database_url, f"{name}_audit"),
        owner_keys_database_url="",
    )
    for dsn in (fresh.owner_database_url, fresh.owner_audit_database_url):
        assert await ensure_database(dsn)
    yield fresh
    for dsn in (fresh.owner_database_url, fresh.owner_audit_database_url):
        await drop_database(dsn)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with two migrations of one schema and one of the audit schema."""
    write(tmp_path, "transactions/0001_things.sql", "CREATE TABLE transactions.things (id int PRIMARY KEY);")
    write(tmp_path, "transactions/0002_more.sql", "CREATE TABLE transactions.more (id int PRIMARY KEY);")
    write(tmp_path, "audit/0001_log.sql", "CREATE TABLE audit.log (id int PRIMARY KEY);")
    return tmp_path


def write(folder: Path, name: str, statements: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(statements)


async def value(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_each_file_is_applied_once_and_in_order(empty: Settings, source: Path) -> None:
    assert await migrate(empty, source) == ["transactions/0001_things", "transactions/0002_more", "audit/0001_log"]
    assert await migrate(empty, source) == []
    assert await value(empty.owner_audit_database_url, "SELECT count(*) FROM audit.log") == 0


async def test_two_runners_take_turns(empty: Settings, source: Path) -> None:
    first, second = await asyncio.gather(migrate(empty, source), migrate(empty, source))
    assert sorted([len(first), len(second)]) == [0, 3]


async def test_a_changed_file_is_refused_by_name(empty: Settings, source: Path) -> None:
    await migrate(empty, source)
    write(source, "transactions/0001_things.sql", "SELECT 1;")
    with pytest.raises(MigrationError, match="transactions/0001_things was changed after it was applied"):
        await migrate(empty, source)


async def test_a_file_that_fails_changes_nothing_and_can_be_mended(empty: Settings, source: Path) -> None:
    write(source, "transactions/0002_more.sql", "CREATE TABLE transactions.half (id int); SELECT nonsense;")
    with pytest.raises(MigrationError, match="transactions/0002_more failed and changed nothing"):
        await migrate(empty, source)
    assert await value(empty.owner_database_url, "SELECT to_regclass('transactions.half')::text") is None
    write(source, "transactions/0002_more.sql", "CREATE TABLE transactions.whole (id int);")
    assert await migrate(empty, source) == ["transactions/0002_more", "audit/0001_log"]


async def test_an_older_program_refuses_a_newer_database(empty: Settings, source: Path) -> None:
    await migrate(empty, source)
    (source / "transactions" / "0002_more.sql").unlink()
    with pytest.raises(MigrationError, match="transactions/0002_more was applied and is not shipped"):
        await migrate(empty, source)


async def test_a_file_numbered_before_an_applied_one_is_refused(empty: Settings, source: Path) -> None:
    (source / "transactions" / "0001_things.sql").rename(source / "transactions" / "0003_things.sql")
    await migrate(empty, source)
    write(source, "transactions/0001_late.sql", "SELECT 1;")
    with pytest.raises(MigrationError, match="transactions/0001_late comes before what is applied already"):
        await migrate(empty, source)


async def test_every_service_can_log_in_with_the_password_of_its_settings(settings: Settings) -> None:
    for role, dsn in role_urls(settings).items():
        assert await value(dsn, "SELECT current_user::text") == role


async def test_an_existing_database_is_left_alone(settings: Settings) -> None:
    assert not await ensure_database(settings.owner_database_url)


@pytest.mark.parametrize("name", ["1_short.sql", "0001-dash.sql", "0001_.sql"])
def test_a_misnamed_file_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"audit/{name}", "SELECT 1;")
    with pytest.raises(MigrationError, match=r"is not named NNNN_name\.sql"):
        load_migrations(tmp_path, "audit")


def test_two_files_with_one_number_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "audit/0001_one.sql", "SELECT 1;")
    write(tmp_path, "audit/0001_two.sql", "SELECT 1;")
    with pytest.raises(MigrationError, match="have the same number"):
        load_migrations(tmp_path, "audit")
