"""What a client leaves on the server when it goes away in the middle of a statement: nothing, half a second later."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded
from amana.infra.postgres import CLIENT_CHECK_MS, Connection, in_transaction, open_pool
from amana.infra.settings import Settings

FREE_WITHIN_S = CLIENT_CHECK_MS / 1000 + 1.0
"""The server's look at its client, and what a busy machine takes."""
LOCK = "SELECT FROM gone_tests WHERE id = $1 FOR UPDATE"
CLIENT = """
import asyncio, sys
from amana.infra.postgres import open_pool

async def main():
    pool = await open_pool(sys.argv[1], "public", 1)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM gone_tests WHERE id = 1 FOR UPDATE")
        print("locked", flush=True)
        await connection.execute(sys.argv[2])

asyncio.run(main())
"""
WORKING = "SELECT pg_sleep(9)"
WAITING = "SELECT FROM gone_tests WHERE id = 2 FOR UPDATE"


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A session of somebody else's, and two rows."""
    connection = await asyncpg.connect(settings.owner_database_url)
    await connection.execute("CREATE TABLE gone_tests (id integer PRIMARY KEY); INSERT INTO gone_tests VALUES (1), (2)")
    yield connection
    await connection.execute("DROP TABLE gone_tests")
    await connection.close()


@asynccontextmanager
async def second_row_locked(other: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    async with other.transaction():
        await other.execute(LOCK, 2)
        yield


async def free_after_s(other: "asyncpg.Connection[asyncpg.Record]") -> float:
    """How long it takes to get the lock of the first row."""
    began_s = time.monotonic()
    await other.execute(LOCK, 1)
    return time.monotonic() - began_s


@pytest.mark.parametrize("doing", [WORKING, WAITING], ids=["in a statement", "waiting for a lock"])
async def test_a_process_that_was_killed_holds_no_lock(
    other: "asyncpg.Connection[asyncpg.Record]", settings: Settings, doing: str
) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, settings.owner_database_url, doing, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdout is not None
    async with second_row_locked(other):
        assert await client.stdout.readline() == b"locked\n"
        await asyncio.sleep(0.2)
        client.send_signal(signal.SIGKILL)
        await client.wait()
        assert await free_after_s(other) < FREE_WITHIN_S


async def test_a_request_whose_deadline_is_over_holds_no_lock(
    other: "asyncpg.Connection[asyncpg.Record]", settings: Settings
) -> None:
    pool = await open_pool(settings.owner_database_url, "public", 1)

    async def work(connection: Connection) -> None:
        await connection.execute(LOCK, 1)
        await connection.execute(WORKING)

    async def request() -> None:
        deadline.enter(time.monotonic() + 0.3)
        await in_transaction(pool, work)

    async with second_row_locked(other):
        with pytest.raises(DeadlineExceeded):
            await asyncio.create_task(request())
        assert await free_after_s(other) < FREE_WITHIN_S
    await pool.close()
