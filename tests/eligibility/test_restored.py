"""A backup of the main database, restored: who was erased since stays erased, and who was restricted is so again."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from tests.dumps import program, run
from tests.eligibility.conftest import Lender
from tests.eligibility.standings_server import StandingsServer, served
from tests.eligibility.test_erasure import IDENTITY, erase

from amana.eligibility.app import build
from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.vault.vault import Vault

WAIT_S = 20.0
MAIN_URLS = ("owner_database_url", "eligibility_database_url", "gateway_database_url")


@pytest.fixture
async def restored(service_settings: Settings) -> AsyncIterator[Settings]:
    """A database for a backup to be restored to; the keys stay where they are."""
    name = f"amana_restored_{os.getpid()}"
    moved = {field: with_database(getattr(service_settings, field), name) for field in MAIN_URLS}
    settings = msgspec.structs.replace(service_settings, **moved)
    await ensure_database(settings.owner_database_url)
    yield settings
    await drop_database(settings.owner_database_url)


async def until(so: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what the job does by itself."""
    async with asyncio.timeout(WAIT_S):
        while not await so():  # noqa: ASYNC110  another process's doing: nothing can be awaited
            await asyncio.sleep(0.05)


async def is_so(connection: "asyncpg.Connection[asyncpg.Record]", customer: str, processing: str) -> bool:
    found = await connection.fetchval("SELECT processing FROM customers WHERE customer = $1", UUID(customer))
    return bool(found == processing)


@asynccontextmanager
async def service(lender: Lender, settings: Settings, http: HttpClient) -> AsyncIterator[Lender]:
    async with served(build(settings)) as url:
        yield Lender(http, url, lender.tenant, lender.key, lender.internal_key, lender.second_key)


async def test_an_erasure_survives_a_restore_from_backup(
    lender: Lender,
    good: str,
    ledger: StandingsServer,
    service_settings: Settings,
    restored: Settings,
    http: HttpClient,
    vault: Vault,
    tmp_path: Path,
) -> None:
    ada, obi = await lender.customer(**IDENTITY), await lender.customer()
    await lender.check(good, id=str(uuid4()))
    backup = str(tmp_path / "backup")
    dump = (program("pg_dump"), "--format=custom", f"--file={backup}", service_settings.owner_database_url)
    await run(*dump)
    assert (await erase(lender, ada))[1]["state"] == "erased"
    assert (await erase(lender, good))[1]["state"] == "restricted"
    await run(program("pg_restore"), f"--dbname={restored.owner_database_url}", backup)

    connection = await asyncpg.connect(restored.owner_database_url, server_settings={"search_path": "eligibility"})
    state = "SELECT processing, identity_sealed FROM customers WHERE customer = $1"
    before = await connection.fetchrow(state, UUID(ada))
    assert before is not None
    assert before["processing"] == "open"
    assert before["identity_sealed"] is not None  # the backup has what nobody can read
    assert await vault.keys([(lender.tenant, UUID(ada))]) == {(lender.tenant, UUID(ada)): None}

    async with service(lender, restored, http) as back:
        status, answer = await back.send("GET", f"/v1/customers/{ada}")
        assert (status, answer["code"]) == (409, "customer_erased")
        await until(lambda: is_so(connection, ada, "erased"))
        await until(lambda: is_so(connection, good, "restricted"))
        assert (await back.ask(good))[1]["code"] == "customer_restricted"
        assert (await back.ask(obi))[0] == 200
        _, again = await back.send("GET", f"/v1/customers/{ada}/erasures")
        assert again["state"] == "erased"
    types = await connection.fetch(
        "SELECT type FROM outbox WHERE aggregate_id = $1 ORDER BY seq DESC LIMIT 2", UUID(ada)
    )
    assert [row["type"] for row in types] == ["CustomerErased", "CustomerRestricted"]
    await connection.close()


async def test_keys_that_come_back_from_a_backup_are_destroyed_again(
    lender: Lender, service_settings: Settings, http: HttpClient, vault: Vault
) -> None:
    ada = await lender.customer(**IDENTITY)
    where = lender.tenant, UUID(ada)
    owner = await asyncpg.connect(service_settings.owner_keys_database_url, server_settings={"search_path": "vault"})
    backup = await owner.fetchrow("SELECT kek, wrapped FROM data_keys WHERE customer = $1", UUID(ada))
    assert backup is not None
    await erase(lender, ada)
    await owner.execute(
        "UPDATE data_keys SET kek = $2, wrapped = $3, destroyed_at = NULL WHERE customer = $1", UUID(ada), *backup
    )
    await owner.execute("DELETE FROM erasures WHERE customer = $1", UUID(ada))
    await owner.close()
    assert (await vault.keys([where]))[where] is not None

    async def is_destroyed() -> bool:
        vault.forget(where)
        return (await vault.keys([where]))[where] is None

    async with service(lender, service_settings, http):
        await until(is_destroyed)
