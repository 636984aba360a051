"""A service starts without its database, and serves nothing before everything in it is as it must be."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from litestar import Litestar
from tests.arrivals import comes_to_life

from amana.eligibility.app import build as build_eligibility
from amana.gateway import provision
from amana.infra import arrival
from amana.infra.arrival import Arrival
from amana.infra.embedded.ports import LOOPBACK
from amana.infra.postgres import Connection, DatabaseUnavailable, in_transaction, reading
from amana.infra.settings import Settings
from amana.transactions.app import build as build_transactions


@pytest.mark.parametrize(
    ("build", "service", "path"),
    [
        (build_eligibility, "eligibility", "/v1/policies/nano"),
        (build_transactions, "transactions", "/v1/trial-balance"),
    ],
)
async def test_a_service_starts_without_its_database_and_is_ready_once_it_comes(
    settings: Settings, build: Callable[[Settings], Litestar], service: str, path: str
) -> None:
    owner = settings.owner_database_url
    tenant = await provision.create_tenant(owner, f"arrival-{uuid4().hex[:12]}", "A patient lender")
    key = await provision.create_key(owner, tenant, ["accounts:read", "policies:write"])
    await comes_to_life(build, settings, service, path, key)


class NotYet(DatabaseUnavailable):
    """What a check found."""


class Door:
    """A check that fails until it is opened."""

    def __init__(self) -> None:
        self.is_open = False
        self.asked = 0

    async def __call__(self, connection: Connection) -> None:
        self.asked += 1
        if not self.is_open:
            raise NotYet("the door is closed")


async def test_no_connection_is_given_out_before_the_check_has_passed_on_one(settings: Settings) -> None:
    door = Door()
    database = Arrival(settings.transactions_database_url, "transactions", door)
    pool, other = await database.pool(2), await database.pool(2, batches=True)
    async with database.awaited(pool):
        assert not database.is_there()
        for _ in range(2):
            with pytest.raises(NotYet):
                async with reading(other):
                    pytest.fail("it was given out")
            with pytest.raises(NotYet):
                await in_transaction(pool, lambda connection: connection.fetchval("SELECT 1"))
        door.is_open = True
        async with asyncio.timeout(10):
            while not database.is_there():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        asked = door.asked
        async with reading(other), reading(other), reading(pool) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert door.asked == asked
    await pool.close()
    await other.close()


async def test_what_a_person_must_help_is_raised_at_start(settings: Settings) -> None:
    database = Arrival(settings.transactions_database_url, "transactions", Door())
    pool = await database.pool(1)
    with pytest.raises(NotYet):
        async with database.awaited(pool, fatal=NotYet):
            pytest.fail("it started")
    await pool.close()


@pytest.mark.parametrize("change", ["schema", "database", "password"])
async def test_a_database_that_is_not_migrated_yet_is_awaited(settings: Settings, change: str) -> None:
    url = settings.transactions_database_url
    if change == "database":
        url += "_that_is_not_there"
    if change == "password":
        url = url.replace("amana_transactions", "amana_nobody")
    database = Arrival(url, "nowhere" if change == "schema" else "transactions")
    pool = await database.pool(1)
    async with database.awaited(pool):
        assert not database.is_there()
        with pytest.raises(DatabaseUnavailable):
            async with reading(pool):
                pytest.fail("there is one")
    await pool.close()


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """The port of a server that takes connections and never says a word."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()


async def test_a_server_that_says_nothing_holds_a_start_up_no_longer_than_its_bound(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "FIRST_LOOK_S", 0.2)
    database = Arrival(f"postgresql://amana:x@{LOOPBACK}:{silent}/amana", "transactions")
    pool = await database.pool(1)
    began_s = time.monotonic()
    async with database.awaited(pool):
        assert time.monotonic() - began_s < 2.0
        assert not database.is_there()
    pool.terminate()
