"""`amana up` watches over what it started."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from amana.infra.embedded.process import Process
from amana.operate import up
from amana.operate.stack import Stack

SAID_TIMEOUT_S = 30


@asynccontextmanager
async def watched(durable: bool = False) -> AsyncIterator[tuple[Stack, Callable[[str], "asyncio.Task[None]"]]]:
    """A stack of servers under watch, and a way to wait until a line is said."""
    said: asyncio.Queue[str] = asyncio.Queue()

    async def until(words: str) -> None:
        async with asyncio.timeout(SAID_TIMEOUT_S):
            while words not in await said.get():
                pass

    async with Stack.open(servers_only=True, durable=durable) as stack:
        watching = asyncio.create_task(up.keep_running(stack, said.put_nowait))
        try:
            yield stack, lambda words: asyncio.create_task(until(words))
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def kill(process: Process | None) -> None:
    assert process and process.pid
    os.kill(process.pid, signal.SIGKILL)


async def test_a_killed_cache_is_brought_back_and_it_is_said() -> None:
    async with watched() as (stack, until):
        assert stack.valkey
        kill(stack.valkey.process)
        await until("Valkey ended (signal SIGKILL); restarting it in 0.5 s (try 1 of 5)")
        await until("Valkey is back")
        assert stack.valkey.process.pid


async def test_a_killed_postgres_is_brought_back_with_what_was_committed() -> None:
    async with watched(durable=True) as (stack, until):
        connection = await asyncpg.connect(stack.settings.owner_database_url)
        await connection.execute("CREATE TABLE public.kept AS SELECT 42 AS answer")
        assert stack.postgres
        kill(stack.postgres.process)
        await until("PostgreSQL is back")
        connection = await asyncpg.connect(stack.settings.owner_database_url)
        assert await connection.fetchval("SELECT answer FROM public.kept") == 42
        await connection.close()


async def test_a_process_that_keeps_dying_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "RESTARTS_MAX", 0)
    async with Stack.open(servers_only=True, durable=False) as stack:
        assert stack.broker
        kill(stack.broker.process)
        with pytest.raises(up.GaveUp, match="Kafka broker ended 1 times"):
            await up.keep_running(stack, lambda _: None)


async def test_logs_are_closed_to_others(folder: Path) -> None:
    (folder / "logs").mkdir()
    (folder / "logs" / "valkey.log").touch()  # as an earlier version left them
    (folder / "logs").chmod(0o755)
    async with Stack.open(folder, servers_only=True, durable=False) as stack:
        assert stack.valkey
    assert stat.S_IMODE((folder / "logs").stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (folder / "logs").iterdir()}
    assert modes == {"postgres.log": 0o600, "valkey.log": 0o600, "broker.log": 0o600}


async def test_the_first_start_tells_the_tenant_s_number_and_its_key_once() -> None:
    said: list[str] = []
    async with Stack.open(servers_only=True, durable=False) as stack:
        await up.introduce(stack, said.append)
        await up.introduce(stack, said.append)
    assert [line.split(" Its API key")[0] for line in said if "Its API key" in line] == [
        "Tenant 1 (`demo`) was made for you."
    ]
